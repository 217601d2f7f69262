"""The `t2v` command line: builds specs, runs them through the door, draws their events."""
