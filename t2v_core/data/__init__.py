"""Clips, captions and latents: what a model is trained on."""
