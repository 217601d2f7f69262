"""Videos in the terminal: decoded by a child process, drawn in half blocks."""
