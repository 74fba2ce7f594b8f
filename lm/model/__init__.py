"""A compact GPT with Gates: its shape, its parts, its expansion, its file."""
