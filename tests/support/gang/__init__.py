"""Several hosts on this machine, each in a network namespace of its own, and an engine there that starts at once."""
