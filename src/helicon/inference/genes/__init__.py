"""Genes from a network's classes of positions."""
