"""Tests of the planted leaks and of the self-test."""
