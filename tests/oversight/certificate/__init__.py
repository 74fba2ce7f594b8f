"""Tests of the certificate of non-interference."""
