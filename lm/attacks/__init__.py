"""Attacks that try to bring forgotten knowledge back: relearning, prompts, probes, rounding."""
