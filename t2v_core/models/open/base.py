"""What every family of open video models offers: the one contract that sampling, refining and reckoning stand on.

A family says in 20 to 60 lines what is its own. Latents are (batch, frames, channels, height, width), float32, on the
CPU, with a spread of about 1, as everywhere in t2v; how its VAE and its transformer want them, only the family knows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import torch
from torch import Tensor

from t2v_core.errors import InvalidRequest
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.finite import hint_for, require_finite
from t2v_core.models.lora.files import Lora, read_lora
from t2v_core.models.lora.forms import of_form, of_its_part
from t2v_core.models.open.layout import TEXT, TRANSFORMERS
from t2v_core.models.open.parts import Parts
from t2v_core.models.text import TextEmbedding


@dataclass(frozen=True)
class Usual:
    """What the family's makers draw when nothing is said. size: (height, width) in pixels"""

    size: tuple[int, int]
    frames: int
    fps: float
    steps: int = 50
    guidance: float = 5.0


class OpenModel(ABC):
    """One model of one family.

    name: of the family; pipeline: the class of diffusers that its `model_index.json` names
    embeds_guidance: guidance is a number that the transformer is told, and not a second answer to pull away from
    survives_fp16: False where half precision gives black videos
    """

    name: ClassVar[str]
    pipeline: ClassVar[str]
    embeds_guidance = False
    survives_fp16: ClassVar[bool] = False
    # What a VAE that works in tiles makes of them, in times of the video: rows without the edges, and the whole.
    copies_of_tiles: ClassVar[int] = 2
    # The layers that an adapter lies beside unless others are asked for.
    adapter_targets: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0")
    # Of the makers of most families; a repository's own card goes before it.
    licence: str = "apache-2.0"

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.fps = self.usual.fps
        if parts.placing.dtype is torch.float16 and not self.survives_fp16:
            raise InvalidRequest(
                f"{self.name} makes black videos in fp16", hint="use --precision bf16, or fp32 where there is no bf16"
            )

    @property
    @abstractmethod
    def usual(self) -> Usual:
        """Return what its makers draw when nothing is said."""

    @property
    @abstractmethod
    def text_length(self) -> int:
        """Return how many tokens of a prompt are read."""

    @abstractmethod
    def text(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts as the family's transformer takes them."""

    @abstractmethod
    def forward(self, transformer: Any, x: Tensor, timesteps: Tensor, text: Conditioning, guidance: float) -> Tensor:
        """Ask the transformer. x: (batch, channels, frames, h, w); timesteps: (batch,) float32; returns x's shape.

        The answer is noise − latents, or what else the family's sampler takes.
        """

    # Prompts as a data set keeps them: without what only fills them up.

    def unpadded(self, text: Conditioning) -> list[TextEmbedding]:
        """Return each prompt by itself, of its own length. Raises NotFinite for an encoder that gives no numbers."""
        require_finite(text.tokens, f"the text encoder of {self.name}", "use --precision fp32")
        rows = zip(text.tokens.float().cpu(), text.pooled.float().cpu(), self._lengths(text), strict=True)
        return [TextEmbedding(tokens[:length].clone(), pooled) for tokens, pooled, length in rows]

    def _lengths(self, text: Conditioning) -> list[int]:
        """Tokens of each prompt up to the last one that counts."""
        counts = text.mask.bool().cpu() * torch.arange(1, text.mask.shape[1] + 1)
        return [int(last) for last in counts.amax(1)]

    def padded(self, text: Conditioning) -> Conditioning:
        """Return prompts of any length as `text` gives them: filled up with zeros to what the transformer reads."""
        missing = self.text_length - text.tokens.shape[1]
        tokens = torch.nn.functional.pad(text.tokens, (0, 0, 0, missing))
        return Conditioning(tokens, torch.nn.functional.pad(text.mask, (0, missing)), text.pooled)

    # How large: frames, pixels and latents.

    @property
    def ratios(self) -> tuple[int, int]:
        """Return how many frames, and how many pixels of a side, the VAE puts into one."""
        vae = self.parts.empty("vae")
        return int(vae.temporal_compression_ratio), int(vae.spatial_compression_ratio)

    @property
    def patch(self) -> int:
        """Return how many latents of a side the transformer takes as one token."""
        patch = self.parts.config("transformer").patch_size
        return int(patch if isinstance(patch, int) else patch[-1])

    @property
    def side_step(self) -> int:
        """Return what height and width must be a multiple of."""
        return self.ratios[1] * self.patch

    def require_shape(self, frames: int, height: int, width: int) -> None:
        """Raise InvalidRequest for frames or sides that the family cannot take, with the nearest that it can."""
        step = self.ratios[0]
        if (frames - 1) % step:
            raise InvalidRequest(
                f"{frames} frames were asked for, and {self.name} makes 1, {step + 1}, {2 * step + 1}, …: "
                f"{step} times any number, and 1",
                hint=f"use --frames {self.frames_near(frames)}",
            )
        for flag, side in (("--height", height), ("--width", width)):
            if side % self.side_step:
                nearest = self.side_near(side)
                raise InvalidRequest(
                    f"{flag} is {side}, and {self.name} takes sides that are a multiple of {self.side_step}",
                    hint=f"use {flag} {nearest}",
                )

    def side_near(self, side: float) -> int:
        """Return the height or width nearest to one that the family takes."""
        return max(self.side_step, round(side / self.side_step) * self.side_step)

    def frames_near(self, frames: int) -> int:
        """Return the number of frames nearest to one that the family takes; of two the larger."""
        below, above = self.frames_around(frames)
        return above if above - frames <= frames - below else below

    def frames_around(self, frames: int) -> tuple[int, int]:
        """Return the largest number of frames that the family takes up to `frames`, and the smallest from there."""
        step = self.ratios[0]
        below = (frames - 1) // step * step + 1
        return below, below if below == frames else below + step

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Return (frames, channels, height, width) of the latents of a video."""
        time, side = self.ratios
        return ((frames - 1) // time + 1, self.latent_channels, height // side, width // side)

    @property
    def latent_channels(self) -> int:
        """Return the channels of latents."""
        return int(self.parts.config("transformer").in_channels)

    # Pixels and latents.

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Encode a video, (n, height, width, 3) uint8, to (frames, channels, h, w). Raises NotFinite."""
        vae = self.parts.use("vae")
        pixels = frames.movedim(-1, 0)[None].to(self.device, vae.dtype).div(127.5).sub(1)
        mean, std, scale = self._statistics(vae)
        latents = (vae.encode(pixels).latent_dist.mode().float() - mean) / std * scale
        require_finite(latents, f"the VAE of {self.name}", hint_for(vae.dtype, "name another --model"))
        return latents[0].movedim(0, 1).cpu()

    @torch.no_grad()
    def decode(self, latents: Tensor, *, beside: bool = False) -> Tensor:
        """Decode videos, (videos, frames, channels, h, w), to (videos, n, height, width, 3) uint8. Raises NotFinite.

        beside: as of `Parts.use`
        """
        vae = self.parts.use("vae", beside=beside)
        mean, std, scale = self._statistics(vae)
        z = latents.transpose(1, 2).to(self.device, torch.float32) / scale * std + mean
        pixels = self.pixels_of(vae, z.to(vae.dtype)).float()
        require_finite(pixels, f"the VAE of {self.name}", hint_for(vae.dtype, "name another --model"))
        if beside:
            self.parts.rest("vae")
        # In place: a second and a third copy of a long video are a gigabyte.
        return pixels.clamp_(-1, 1).add_(1).mul_(127.5).round_().to(torch.uint8).movedim(1, -1).cpu()

    def pixels_of(self, vae: Any, z: Tensor) -> Tensor:
        """Decode what the VAE gave: (videos, channels, frames, h, w) to (videos, 3, n, height, width) in −1 … 1."""
        return vae.decode(z, return_dict=False)[0]

    def _statistics(self, vae: Any) -> tuple[Tensor, Tensor, float]:
        """Mean and spread of each channel, and a factor: buffers in one family, configuration in others, or neither."""
        buffers = dict(vae.named_buffers(recurse=False))
        mean, std = (buffers.get(name, vae.config.get(name)) for name in ("latents_mean", "latents_std"))
        factor = float(getattr(vae.config, "scaling_factor", None) or 1.0)
        return self._by_channel(0.0 if mean is None else mean), self._by_channel(1.0 if std is None else std), factor

    def _by_channel(self, values: Any) -> Tensor:
        return torch.as_tensor(values).to(self.device, torch.float32).reshape(1, -1, 1, 1, 1)

    # Prompts, and what the transformer answers.

    @property
    def device(self) -> torch.device:
        """Return where it computes."""
        return self.parts.placing.device

    @property
    def dtype(self) -> torch.dtype:
        """Return what it computes in."""
        return self.parts.placing.dtype

    def count_tokens(self, prompt: str) -> int:
        """Count the tokens of the whole prompt, before any is cut off."""
        return len(self.parts.use("tokenizer")(prompt, truncation=False, verbose=False)["input_ids"])

    @property
    def text_width(self) -> int:
        """Return the values of a token of text."""
        return self._width("text_encoder")

    @property
    def pooled_width(self) -> int:
        """Return the values of a prompt as a whole; 0 where the family has none."""
        return self._width("text_encoder_2") if "text_encoder_2" in self.parts.names else 0

    def _width(self, name: str) -> int:
        """As its file says, which is read sooner than its class is imported; else as that has it."""
        said = self.parts.said(name)
        width = said.get("d_model") or said.get("hidden_size")
        if isinstance(width, int):
            return width
        config = self.parts.config(name)
        return int(getattr(config, "d_model", None) or config.hidden_size)

    def prompting(self) -> Any:
        """Return diffusers' own pipeline with the text encoders and nothing else: it knows templates and padding."""
        parts = {name: self.parts.use(name) for name in TEXT if name in self.parts.names}
        others = dict.fromkeys(("transformer", "vae", "scheduler"))
        return getattr(diffusers, self.pipeline)(**others, **parts)

    def lora(self, path: Path, scale: float = 1.0) -> Lora:
        """Read an adapter in the names of diffusers, or those that it can tell of other programs.

        Raises InvalidRequest for what is none, or is another model's.
        """
        found = of_its_part(read_lora(path, scale, convert=self._named_as_here))
        parts = {name: self.parts.empty(name) for name in TRANSFORMERS if name in self.parts.names}
        found.require_fits(parts, self.name)
        return found

    def _named_as_here(self, tensors: dict[str, Tensor], about: Mapping[str, Any]) -> dict[str, Tensor]:
        """An adapter in another program's form: what `t2v export` wrote is as it was, others as diffusers has it."""
        own = of_form(tensors, about, self.name, self.layer_sizes())
        if own is not None:
            return own
        converted: dict[str, Tensor] = getattr(diffusers, self.pipeline).lora_state_dict(dict(tensors))
        return converted

    def layer_sizes(self) -> dict[str, int]:
        """Return what each linear layer of the transformer gives out, by its name."""
        layers = self.parts.empty("transformer").named_modules()
        return {name: layer.out_features for name, layer in layers if isinstance(layer, torch.nn.Linear)}

    def transformer_at(self, timestep: float) -> str:  # most families have one
        """Return the name of the transformer that answers at a timestep."""
        return "transformer"

    def time_of(self, timestep: Tensor) -> Tensor:
        """Return a timestep, 1000 where there is only noise, as the family counts it."""
        return timestep

    @torch.no_grad()
    def predict(self, latents: Tensor, timestep: Tensor, text: Conditioning, guidance: float) -> Tensor:
        """Return the transformer's answer for latents at one timestep, of their shape, float32, on the CPU."""
        transformer = self.parts.use(self.transformer_at(float(timestep)))
        x = latents.transpose(1, 2).to(self.device, self.dtype)
        timesteps = self.time_of(timestep).float().to(self.device).expand(len(x))
        return self.forward(transformer, x, timesteps, text, guidance).float().cpu().transpose(1, 2)

    def shift(self, shape: tuple[int, int, int, int]) -> float:  # most have one for all shapes
        """Return how far sampling is shifted towards noise, σ → s·σ / (1 + (s − 1)·σ); training draws as much of it."""
        config = self.parts.use("scheduler").config
        return float(config.get("flow_shift") or config.get("shift") or 1.0)

    def set_timesteps(self, scheduler: Any, steps: int, shape: tuple[int, int, int, int]) -> None:
        """Have diffusers' scheduler choose its steps as the family does. shape: of the latents"""
        scheduler.set_timesteps(steps)
