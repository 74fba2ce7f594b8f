"""Tests of unlearning after training."""
