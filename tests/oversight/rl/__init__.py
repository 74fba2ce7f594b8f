"""Tests of training, studies and sweeps."""
