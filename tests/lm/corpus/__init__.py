"""Tests of `lm.corpus`."""
