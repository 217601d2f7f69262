"""The previous system's latents, text embeddings and annotations, imported."""
