"""Tests of `lm.training`."""
