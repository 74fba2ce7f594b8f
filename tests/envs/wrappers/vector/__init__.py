"""Tests of envs.wrappers.vector."""
