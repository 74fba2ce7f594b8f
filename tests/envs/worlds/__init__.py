"""Tests of envs.worlds."""
