"""Labelled sequences, of DNA and of proteins."""
