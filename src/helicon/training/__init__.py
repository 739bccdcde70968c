"""The fit loop, run folders, checkpoints, and the verbs that train and measure."""
