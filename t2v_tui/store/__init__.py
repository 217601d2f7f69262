"""What the app knows: its state, the events that change it, and the pure step from one to the next."""
