"""Text as data: tokenizer, prompt templates, vocabularies (no torch.nn)."""
