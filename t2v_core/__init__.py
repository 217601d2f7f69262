"""The engine: data, models, training, sampling, scores. Knows tensors, pixels and files; no terminal, no network."""

__version__ = "0.1.0"
