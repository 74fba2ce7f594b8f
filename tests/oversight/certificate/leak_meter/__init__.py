"""Tests of the leak meter."""
