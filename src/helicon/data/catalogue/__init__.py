"""Public data sets, and the example that travels with the package."""
