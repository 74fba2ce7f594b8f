"""Tests of the content and the pages of inspections."""
