"""Language models on the routing core: a GPT, its routes, expansion and ablation, and training."""
