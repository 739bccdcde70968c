"""A network asked for its outputs: tiles, pooling, memory, substitutions."""
