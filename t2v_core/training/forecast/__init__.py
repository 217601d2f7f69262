"""What a training will need: memory, time, disk."""
