"""Language models on the routing core; the unlearning experiments are built here next."""
