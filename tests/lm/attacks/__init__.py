"""Tests of `lm.attacks`."""
