"""ChordMixer, the network of FinDNA."""
