"""The hub's repositories: what one holds, and moving files, none of them twice."""
