"""The loss curve, in braille."""
