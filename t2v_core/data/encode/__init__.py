"""Clips and captions become latents and text embeddings."""
