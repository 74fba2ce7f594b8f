"""Tests of the compact GPT."""
