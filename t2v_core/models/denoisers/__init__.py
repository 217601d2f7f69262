"""The networks that denoise, and the one that a name stands for."""
