"""From sequences to batches: windows, token budgets, clusters."""
