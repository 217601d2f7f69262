"""Processes of t2v that need not import it first."""
