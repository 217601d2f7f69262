"""What the terminal UI says, as pure functions of its state."""
