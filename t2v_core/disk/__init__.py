"""Files: written whole or not at all, locked, private, and read with nothing in them believed."""
