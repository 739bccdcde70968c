"""Figures: each a short function on plain arrays that gives a `Figure`."""
