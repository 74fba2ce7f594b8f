"""The diamond and ghost grid: one kernel, a single and a vector environment."""
