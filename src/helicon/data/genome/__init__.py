"""Genomes: sequences of chromosomes, and stretches of them."""
