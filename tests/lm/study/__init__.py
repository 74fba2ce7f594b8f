"""Tests of many runs of unlearning side by side."""
