"""Connections for bulk: OpenSSH's own programs carry the bytes, and the interpreter only says which."""
