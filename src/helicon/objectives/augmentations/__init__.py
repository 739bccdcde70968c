"""Augmentations of sequences: chains of operations and their views."""
