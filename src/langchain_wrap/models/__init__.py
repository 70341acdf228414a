"""Built-in models: each an ordinary custom LLM on the public contract."""
