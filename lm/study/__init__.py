"""Many runs of unlearning: which there are, how they are done side by side, and what came out."""
