"""Tests of the applications: training and evaluating runs from the command line."""
