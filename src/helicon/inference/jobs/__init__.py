"""Inputs of any size: shards, parts, processes, clusters."""
