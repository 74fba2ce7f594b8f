"""Tests of `lm.benchmarks`."""
