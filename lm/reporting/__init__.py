"""What came out of unlearning: a table, a verdict, figures and TensorBoard's page."""
