"""Files that come and go: offered, sent, received, removed."""
