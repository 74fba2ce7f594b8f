"""Documents of any source as shards of tokens, each with the label that a learner is given."""
