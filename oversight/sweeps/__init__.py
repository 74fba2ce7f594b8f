"""Sweeps: the runs of a study on many processes, and what came out of them."""
