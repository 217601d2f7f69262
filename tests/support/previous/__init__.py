"""What the previous system left: its model, its folder, and a workspace with both."""
