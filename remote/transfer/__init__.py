"""Bytes between this workspace and one on a host: planned first, resumed, verified, renamed; never half a file."""
