"""The parts of `t2v verify-resume`: runs that are killed at a chosen point, and what they have in common afterwards."""
