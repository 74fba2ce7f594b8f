"""Tests of envs.observers."""
