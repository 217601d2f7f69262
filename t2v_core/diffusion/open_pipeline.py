"""OpenPipeline: an open model of whatever family, for one size of video, through the loop that all models share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from t2v_core.diffusion.denoising import Denoising
from t2v_core.diffusion.guidance import Guidance
from t2v_core.diffusion.schedules import FlowSchedule
from t2v_core.diffusion.shipped_sampler import UniPCSampler, flow_timesteps, sampler_for
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.layout import TEXT, TRANSFORMERS
from t2v_core.models.open.memory.placing import memory_told


@dataclass(frozen=True)
class Prompts:
    """without: what guidance pulls away from; None where there is none"""

    given: Conditioning
    without: Conditioning | None


class OpenPipeline(Denoising):
    """An open model that makes videos of one size.

    frames: that go through the model at a time; size: (height, width) in pixels
    sampler: `auto` is the one that it ships with
    negative_prompt: what guidance pulls away from
    Raises InvalidRequest for frames or a size that the family cannot take, and for a sampler that does not fit it.
    """

    def __init__(
        self,
        model: OpenModel,
        frames: int,
        size: tuple[int, int],
        *,
        sampler: str = "auto",
        negative_prompt: str = "",
    ) -> None:
        model.require_shape(frames, *size)
        self.model, self.size, self.negative_prompt = model, size, negative_prompt
        self._shape = model.latent_shape(frames, *size)
        self._shipped = model.parts.use("scheduler")
        self.scheduler = sampler_for(self._shipped, sampler)
        self._read: dict[str, Conditioning] = {}

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Return (frames, channels, height, width) of the latents that the model takes at a time."""
        return self._shape

    @property
    def frame_size(self) -> tuple[int, int]:
        """Return (height, width) in pixels of what it makes."""
        return self.size

    @property
    def arithmetic(self) -> torch.dtype:
        """Return the type of number that the transformer computes with."""
        return self.model.dtype

    def frames_of_latents(self, frames: int | None) -> int:  # it was made for so many
        """Return how many frames of latents the video has that this pipeline was made for."""
        return self._shape[0]

    def tokens_read(self, prompt: str) -> tuple[int, int]:
        """Return how many tokens a prompt has, and how many of them the family reads at most."""
        return self.model.count_tokens(prompt), self.model.text_length

    def set_steps(self, steps: int) -> None:
        """Choose the timesteps of a run as the family does. Raises InvalidRequest outside 1 … 1000."""
        self.scheduler.set_timesteps(steps)
        if isinstance(self.scheduler, FlowSchedule) and not isinstance(self.scheduler, UniPCSampler):
            self.model.set_timesteps(self._shipped, steps, self._shape)
            self.scheduler.timesteps = flow_timesteps(self._shipped)

    def encode_parts(self, parts: Iterable[Tensor]) -> Tensor:
        """Encode a whole video at once: each frame of latents holds several of it.

        The last frame is shown again until there are as many as the family takes.
        """
        frames = torch.cat(list(parts))
        missing = self.model.frames_around(len(frames))[1] - len(frames)
        with memory_told(self.model.parts.placing):
            return self.model.encode(torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)]))

    def decode_parts(self, latents: Tensor) -> Iterator[Tensor]:
        """Yield all frames of latents (frames, channels, h, w), (n, height, width, 3) uint8."""
        self.model.parts.rest(*TRANSFORMERS)
        with memory_told(self.model.parts.placing):
            frames = self.model.decode(latents[None])[0]
        yield frames
        self.model.parts.rest("vae")

    def glimpse(self, latents: Tensor) -> Tensor:
        """Return (n, height, width, 3) uint8: the first picture of each of n frames of latents (n, channels, h, w)."""
        return self.model.decode(latents[:, None], beside=True)[:, 0]

    def _conditioning(self, prompts: Sequence[str], guidance: Guidance) -> Prompts:
        """The prompts, and what guidance pulls away from."""
        pulls = guidance.scale != 1 and not self.model.embeds_guidance
        given = self._text(prompts)
        without = self._text([self.negative_prompt] * len(prompts)) if pulls else None
        self.model.parts.rest(*TEXT, "vae")
        return Prompts(given, without)

    @torch.no_grad()
    def read_ahead(self, prompts: Sequence[str]) -> None:
        """Encode prompts and keep them: text encoders that make room for the rest come from the disk each time."""
        for prompt in dict.fromkeys([*prompts, self.negative_prompt]):
            self.know(prompt, self._text([prompt]))
        self.model.parts.rest(*TEXT)

    def know(self, prompt: str, text: Conditioning) -> None:
        """Keep a prompt that is encoded already, as the family's transformer reads it: no text encoder is asked."""
        self._read[prompt] = text.to(torch.device("cpu"), self.model.dtype)

    def _text(self, prompts: Sequence[str]) -> Conditioning:
        if len(prompts) == 1 and prompts[0] in self._read:
            return self._read[prompts[0]].to(self.model.device, self.model.dtype)
        with memory_told(self.model.parts.placing):
            text = self.model.text(prompts)
        pooled = text.pooled.to(self.model.device, self.model.dtype)
        return Conditioning(
            text.tokens.to(self.model.device, self.model.dtype), text.mask.to(self.model.device), pooled
        )

    def _predict(self, latents: Tensor, timestep: Tensor, prompts: Prompts, guidance: Guidance) -> Tensor:
        """The model's answer, guided; two passes one after the other, as two at once take twice the memory."""
        with memory_told(self.model.parts.placing):
            answer = self.model.predict(latents, timestep, prompts.given, guidance.scale)
            if prompts.without is None:
                return answer
            return guidance.combine(answer, self.model.predict(latents, timestep, prompts.without, guidance.scale))
