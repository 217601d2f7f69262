"""What powers an idle machine off, and what counts as work."""
