"""Tests of the models of Hugging Face; they are skipped where the extra `hf` is not installed."""
