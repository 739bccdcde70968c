"""Adapting a model to labelled data."""
