"""Attacks by relearning: what comes back of what was unlearned, how soon, and beside gold."""
