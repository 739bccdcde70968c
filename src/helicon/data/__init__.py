"""Data: genomes, intervals, labelled sequences, annotation, sampling and batching."""
