"""Tests of `lm.models`."""
