"""Hosts to test against: real SSH servers, machines and VMs, and the agent beside them."""
