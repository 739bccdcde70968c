"""Measures of predictions, each a pure function of everything that was predicted."""
