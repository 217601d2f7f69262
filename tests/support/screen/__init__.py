"""Terminals and browsers driven by a test, and what they show."""
