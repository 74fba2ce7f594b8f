"""Measures of knowledge: losses, calibrated losses, questions on held-out stories, benchmarks."""
