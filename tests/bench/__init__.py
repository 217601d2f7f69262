"""Real parts to test remote work against: an OpenSSH server, and a TCP proxy that misbehaves on demand."""
