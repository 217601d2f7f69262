"""Open video models in diffusers' layout: one contract (`base.py`), one file a family, one way to load them."""
