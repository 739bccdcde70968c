"""Pictures of scores of letters."""
