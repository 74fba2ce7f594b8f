"""Presets: one function per published run."""
