"""Unlearning after training: what changes a trained model, given stories to forget and others."""
