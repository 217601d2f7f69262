"""Making this machine ready, and examining it."""
