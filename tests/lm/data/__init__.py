"""Tests of `lm.data`."""
