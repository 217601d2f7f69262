"""How much memory an open model takes, and where its parts go so that it takes less."""
