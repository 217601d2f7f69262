"""What the engine does: one module for each verb, and what several of them share."""
