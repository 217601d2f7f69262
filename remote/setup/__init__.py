"""Making a host ready: its environment, the release of t2v that runs there, and the checks of both."""
