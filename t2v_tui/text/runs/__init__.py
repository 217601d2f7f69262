"""Trainings in words: as the rows of a table, and side by side."""
