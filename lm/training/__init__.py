"""Training by routes: tables, batches, the loop, and checkpoints that it goes on from."""
