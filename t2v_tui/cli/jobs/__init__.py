"""Commands about jobs: list, watch, read logs, stop."""
