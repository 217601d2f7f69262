"""Scores of videos against videos: distances between two sets, movement, and what a score is blind to."""
