"""Bytes from files: compressed, delimited, cached, downloaded."""
