"""From a model to one that is fine-tuned or probed."""
