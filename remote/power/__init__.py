"""Machines that can be switched on and off: what a provider offers, the host on one, and how it is brought up."""
