"""Denoisers and encoders."""
