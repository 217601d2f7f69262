"""How much memory an open model takes, and how it takes less: where its parts go, and in how many bits."""
