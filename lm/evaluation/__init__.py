"""What a model still knows: losses, calibrated losses, and questions, on held-out material."""
