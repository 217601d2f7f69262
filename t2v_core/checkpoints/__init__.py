"""Checkpoints, ours and the previous system's: written whole, verified, listed, read."""
