"""What every test file goes by: programs it needs, what it may leave, how long it may take."""
