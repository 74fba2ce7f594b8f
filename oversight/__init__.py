"""Gradient routing: where in a network each piece of data may teach. Imports nothing by itself."""
