"""Tests of `lm.evaluation`."""
