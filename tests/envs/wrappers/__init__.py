"""Tests of partial oversight for any environment."""
