"""The engine's verbs as commands, run here or on a host, and how their progress is told."""
