"""Language models with gates: a compact GPT, and causal models of Hugging Face."""
