"""The loop that trains: steps, schedule, budget."""
