"""Commands about a VM: its state, its guard and its cost."""
