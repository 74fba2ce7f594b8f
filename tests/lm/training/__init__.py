"""Tests of routed training."""
