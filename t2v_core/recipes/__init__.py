"""How the shipped encoders and denoiser were trained: `python -m t2v_core.recipes.make`."""
