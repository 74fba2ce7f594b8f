"""Tests of codes that gradient routing splits."""
