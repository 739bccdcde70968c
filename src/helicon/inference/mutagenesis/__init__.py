"""Every substitution at every position."""
