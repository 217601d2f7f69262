"""Captions and the clips they belong to, in every form that people keep them."""
