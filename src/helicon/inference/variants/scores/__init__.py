"""The scores of variants: one object each, and what they are computed from."""
