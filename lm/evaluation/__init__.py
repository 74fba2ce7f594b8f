"""What a model knows: losses, calibrated losses, questions on held-out stories, benchmarks."""
