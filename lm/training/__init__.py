"""Training by routes: route tables, batches, the loop, its checkpoints and its processes."""
