"""A log: indexed, searched, filtered, drawn a window at a time."""
