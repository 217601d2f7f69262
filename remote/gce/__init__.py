"""A VM of Google Compute Engine: its state, its start and stop, its login, and what its errors mean."""
