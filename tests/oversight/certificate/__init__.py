"""Tests of the certificate that hidden rewards change nothing."""
