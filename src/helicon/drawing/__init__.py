"""The base of every figure: matplotlib in pixels, in the colours of a light and a dark theme."""
