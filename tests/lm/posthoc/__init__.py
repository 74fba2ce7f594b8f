"""Tests of `lm.posthoc`."""
