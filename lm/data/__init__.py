"""Training data: prepared documents as shards of labeled tokens, and stories as rows."""
