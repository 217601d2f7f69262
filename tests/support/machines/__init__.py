"""Machines and VMs to test against, switched on and off; what little memory, disk or power does to work."""
