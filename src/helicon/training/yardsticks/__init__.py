"""What is measured beside a network: k-mers, one-hot, Markov models."""
