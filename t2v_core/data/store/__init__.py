"""Shards of latents and text embeddings: written by the preprocessing, read by the training."""
