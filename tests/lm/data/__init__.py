"""Tests of documents, their labels, and the shards that they are prepared as."""
