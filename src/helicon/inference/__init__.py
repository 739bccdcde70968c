"""Using a trained model on inputs of any size, exactly, in bounded memory, restartable."""
