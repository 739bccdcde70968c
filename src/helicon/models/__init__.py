"""Backbones, heads, the registry of named sizes, and the Hugging Face surface over them."""
