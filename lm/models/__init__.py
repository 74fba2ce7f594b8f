"""Language models whose modules carry gates: our GPT, and causal models of Hugging Face."""
