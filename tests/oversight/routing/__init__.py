"""Tests of the gradient-routing core."""
