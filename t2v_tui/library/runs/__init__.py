"""Trainings side by side: what each measured, how it was set, what it cost, what it is called."""
