"""Codes that gradient routing splits: each part learns its own classes."""
