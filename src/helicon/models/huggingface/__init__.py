"""Models as Hugging Face folders: classes, tokenizer, card."""
