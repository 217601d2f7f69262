"""How fast a training goes, and why it is slow."""
