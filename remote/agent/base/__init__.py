"""What all parts of the agent stand on: files, processes, units, what was asked and what goes out."""
