"""The kinds of labelled data."""
