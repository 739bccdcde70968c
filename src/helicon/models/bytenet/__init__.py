"""ByteNet, the network of CARP."""
