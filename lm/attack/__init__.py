"""Attacks on unlearned models: relearning, probes, prompts and rounding, each beside gold."""
