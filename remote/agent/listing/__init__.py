"""What lies on this machine: folders, kinds of files, hashes, the previous system's checkpoints."""
