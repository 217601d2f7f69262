"""Videos in the terminal: decoded by a child process, shown as pixels where it can, else in half blocks."""
