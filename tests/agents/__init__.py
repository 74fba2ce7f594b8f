"""Tests of the agents: the answers come from SB3, closed forms and plain references."""
