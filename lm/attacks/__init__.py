"""Attacks that try to bring unlearned knowledge back: relearning, prompts, probes, quantization."""
