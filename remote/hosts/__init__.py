"""Hosts, here or over SSH: how they are reached, whose keys they have, and the agent that answers there."""
