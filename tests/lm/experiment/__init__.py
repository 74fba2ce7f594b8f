"""Tests of a run of a method, from stories to its result."""
