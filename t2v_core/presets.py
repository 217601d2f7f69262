"""Models by name, and how each is trained unless something else is asked."""

from __future__ import annotations

from typing import Any

# What a preset says of the model (a VideoTransformer unless `class` names another of models/denoisers/) …
PRESET_MODELS: dict[str, dict[str, Any]] = {
    "seed": {"block": "seed", "hidden_size": 768, "num_layers": 12, "num_heads": 12, "mlp_ratio": 4, "patch_size": 1},
    "base": {"block": "adaln", "hidden_size": 768, "num_layers": 12, "num_heads": 12, "mlp_ratio": 4, "patch_size": 2},
    "tiny": {"block": "adaln", "hidden_size": 96, "num_layers": 4, "num_heads": 4, "mlp_ratio": 2, "patch_size": 2},
    "unet3d": {"class": "UNet3DCond", "block_out_channels": [64, 128, 256], "condition_dim": 256},
    "unet3d-tiny": {"class": "UNet3DCond", "block_out_channels": [24, 48, 96], "condition_dim": 96},
}
# Minutes of one core on the built-in world.
_TINY: dict[str, Any] = {
    "objective": "flow",
    "epochs": 40,
    "batch_size": 16,
    "gradient_accumulation": 1,
    "learning_rate": 2e-3,
    "adam_beta2": 0.99,
    "lr_schedule": "one-cycle",
    "warmup_steps": None,
    "ema_decay": 0.995,
    # Its operations are too small to share: on 2 cores 2 threads gave 62 samples/s, one 86 to 117.
    "threads": 1,
    "checkpoint_every": 5,
}
# Passes of a distilled model for a video; of a refinement only the share that its strength says is taken.
MAP_STEPS, MAP_REFINING_STEPS = 4, 10
# What a distillation takes beside the preset's; its learning rate is a half.
DISTILLING: dict[str, Any] = {
    "epochs": 16,
    # 268 steps, to the end of their schedule, drew as well as 1,340 of AdamW before the end of theirs. What it does
    # for a training from scratch: docs/recipes.md.
    "optimizer": "muon",
    "lr_schedule": "cosine",
    "warmup_steps": 50,
    "ema_decay": 0.995,
    "checkpoint_every": 2,
    "caption_dropout": 0.0,
    # The teacher goes four paths of 20 passes for each.
    "held_out_clips": 8,
}
# What it takes to teach a trained model more, beside its preset's settings, unless something else is asked for. Layers
# with an adapter beside them have not been compiled on a GPU by us.
TUNING: dict[str, Any] = {"lr_schedule": "constant", "warmup_steps": 10, "ema_decay": 0.99, "compile": "no"}
# The same for an open model, of which a clip is large, and a sample takes minutes.
OPEN_TUNING: dict[str, Any] = TUNING | {
    "learning_rate": 1e-4,
    "batch_size": 1,
    "gradient_accumulation": 4,
    "checkpoint_every": 1,
    "held_out_clips": 4,
    "samples": 0,
}
# What an open model has behind it, or has its own way of; t2v.toml may say it for trainings of our own.
NOT_FOR_OPEN = ("preset", "attention", "objective", "zero_terminal_snr", "min_snr_gamma")
# … and of the training; what it leaves out is TrainSpec's own default, which is the `seed` preset's.
PRESET_TRAINING: dict[str, dict[str, Any]] = {
    "seed": {},
    "base": {"objective": "flow", "attention": "temporal", "warmup_steps": 1000},
    "tiny": _TINY | {"attention": "joint+temporal"},
    # The system before t2v had its U-Net predict the noise, as `--objective epsilon` does. Flow is the default as it is
    # `base`'s: it learned faster than v on the built-in world, and no checkpoint of the earlier U-Net has to load here.
    "unet3d": {"objective": "flow", "warmup_steps": 1000},
    # Twice the transformer's: after 786 steps the held-out loss was 0.173, at 2e-3 0.198.
    "unet3d-tiny": _TINY | {"learning_rate": 4e-3},
}
