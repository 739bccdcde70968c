"""A plain Transformer."""
