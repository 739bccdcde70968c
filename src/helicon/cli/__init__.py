"""The command line: one file a verb; each parses, calls one function below, and prints."""

from helicon.cli.application import main

__all__ = ["main"]
