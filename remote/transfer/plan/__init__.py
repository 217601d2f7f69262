"""What a transfer would move, worked out and shown before anything is moved."""
