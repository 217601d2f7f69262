"""Latents and text embeddings that lie in a bucket: read by fsspec, through a folder here that stays within a size."""
