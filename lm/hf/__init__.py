"""Causal language models of Hugging Face: with Gates and an expansion, and plain again.

Nothing here imports transformers before a model is loaded, so that the rest runs without it.
"""
