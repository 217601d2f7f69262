"""What people see: the `t2v` command line and the terminal UI."""
