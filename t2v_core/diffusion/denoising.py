"""From noise, or from a noised video, to latents: the one loop that every kind of model goes through.

What a model is, its own pipeline says: how a prompt becomes something it reads, what it answers for noisy latents, how
pixels become latents and the other way round. Steps, windows, guidance, previews and the way a run is ended are here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from t2v_core.diffusion.guidance import Guidance
from t2v_core.diffusion.samplers import randn
from t2v_core.diffusion.schedules import Sampler
from t2v_core.diffusion.windows import blend, windows_over
from t2v_core.errors import NotFinite
from t2v_core.models.finite import hint_for, is_finite

Progress = Callable[[int, int], None]
Look = Callable[[Tensor], None]


class Denoising(ABC):
    """A model with the sampler that draws from it. Latents are (batch, frames, channels, h, w), float32, on the CPU.

    A model may hold several frames of a video in one frame of latents.
    """

    scheduler: Sampler
    # Of those that are drawn together where many are wanted.
    videos_at_once: ClassVar[int] = 1

    @property
    @abstractmethod
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Return (frames, channels, height, width) of the latents that the model takes at a time."""

    @property
    @abstractmethod
    def frame_size(self) -> tuple[int, int]:
        """Return (height, width) in pixels of what it makes."""

    @property
    @abstractmethod
    def arithmetic(self) -> torch.dtype:
        """Return the type of number that the model computes with."""

    @abstractmethod
    def frames_of_latents(self, frames: int | None) -> int:
        """Return how many frames of latents a video of `frames` frames has; None is one of its usual length.

        Raises InvalidRequest for more frames than it knows.
        """

    @abstractmethod
    def tokens_read(self, prompt: str) -> tuple[int, int]:
        """Return how many tokens a prompt has, and how many of them the text encoder reads at most."""

    @abstractmethod
    def encode_parts(self, parts: Iterable[Tensor]) -> Tensor:
        """Encode a video whose frames come a few at a time, (n, height, width, 3) uint8 each.

        Returns (frames, channels, h, w). Raises NotFinite.
        """

    @abstractmethod
    def decode_parts(self, latents: Tensor) -> Iterator[Tensor]:
        """Yield the frames of latents (frames, channels, h, w) a few at a time, (n, height, width, 3) uint8."""

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode (videos, frames, channels, h, w) to (videos, n, height, width, 3) uint8, one after the other."""
        return torch.stack([torch.cat(list(self.decode_parts(one))) for one in latents])

    @abstractmethod
    def glimpse(self, latents: Tensor) -> Tensor:
        """Return (n, height, width, 3) uint8: each of n frames of latents (n, channels, h, w) as one picture."""

    @abstractmethod
    def _conditioning(self, prompts: Sequence[str], guidance: Guidance) -> Any:
        """What `_predict` needs to know of the prompts."""

    @abstractmethod
    def _predict(self, latents: Tensor, timestep: Tensor, prompts: Any, guidance: Guidance) -> Tensor:
        """The model's answer, guided, in float32 on the CPU."""

    def read_ahead(self, prompts: Sequence[str]) -> None:  # noqa: B027 - most read a prompt in no time
        """Say which prompts will be drawn one after the other, for a model that had better encode them once."""

    def set_steps(self, steps: int) -> None:
        """Choose the timesteps of a run. Raises InvalidRequest outside 1 … 1000."""
        self.scheduler.set_timesteps(steps)

    def count_steps(self, strength: float) -> int:
        """Return how many of the chosen steps a strength takes; 0 takes none. Raises InvalidRequest as `skip_to`."""
        return 0 if strength == 0 else len(self.scheduler.timesteps) - self.scheduler.skip_to(strength)

    @torch.no_grad()
    def draw(
        self,
        prompts: Sequence[str],
        *,
        frames: int,
        steps: int,
        guidance: Guidance,
        seed: int = 0,
        progress: Progress | None = None,
        look: Look | None = None,
    ) -> Tensor:
        """Return the latents of one video a prompt, of `frames` frames of latents; video i starts from `seed + i`.

        progress: called with (steps done, steps) after each step; what it raises ends the run
        look: called with the latents after each step
        """
        self.set_steps(steps)
        shape = (frames, *self.latent_shape[1:])
        noise = torch.stack([randn(shape, seed + i) for i in range(len(prompts))])
        return self.denoise(noise, prompts, 0, guidance, progress, look=look)

    @torch.no_grad()
    def refine_latents(
        self,
        clean: Tensor,
        prompt: str,
        *,
        strength: float,
        num_inference_steps: int,
        guidance: Guidance,
        seed: int = 0,
        overlap: int | None = None,
        progress: Progress | None = None,
        look: Look | None = None,
    ) -> Tensor:
        """Noise latents to `strength` and denoise them towards the prompt; 0 changes nothing, and 1 leaves nothing.

        clean: (frames, channels, height, width); returns (1, frames, channels, height, width)
        Raises InvalidRequest when strength and steps leave no step. Source: Meng et al. 2021, algorithm 1.
        """
        self.set_steps(num_inference_steps)
        taken = self.count_steps(strength)
        if not taken:
            return clean[None]
        first = num_inference_steps - taken
        noise = randn(tuple(clean.shape), seed)
        # Few schedules begin in noise alone; a prompt's own video does, and strength 1 is that.
        noisy = (
            noise[None]
            if strength == 1
            else self.scheduler.add_noise(clean[None], noise[None], self.scheduler.timesteps[first : first + 1])
        )
        return self.denoise(noisy, [prompt], first, guidance, progress, overlap=overlap, look=look)

    def denoise(
        self,
        latents: Tensor,
        prompts: Sequence[str],
        first: int,
        guidance: Guidance,
        progress: Progress | None = None,
        *,
        overlap: int | None = None,
        look: Look | None = None,
    ) -> Tensor:
        """Run the sampler from step `first` of its list; latents (batch, frames, channels, height, width), float32.

        A clip longer than the model's goes through it in windows, all at once, blended at every step
        (Bar-Tal et al. 2023, MultiDiffusion, eq. 5). Raises NotFinite at the first step that gives no numbers.
        """
        windows = windows_over(latents.shape[1], self.latent_shape[0], overlap)
        conditioning = self._conditioning(prompts, guidance)
        steps = len(self.scheduler.timesteps)
        self.scheduler.restart()
        for index in range(first, steps):
            timestep = self.scheduler.model_time(index)
            parts = [self._predict(latents[:, a:b], timestep, conditioning, guidance) for a, b in windows]
            latents = self.scheduler.step(blend(parts, windows, latents.shape[1]), index, latents)
            self._require_finite(latents, f"step {index - first + 1} of {steps - first}")
            if progress is not None:
                progress(index - first + 1, steps - first)
            if look is not None:
                look(latents)
        return latents

    def _require_finite(self, latents: Tensor, where: str) -> None:
        if not is_finite(latents):
            hint = hint_for(self.arithmetic, "use another checkpoint, or a lower --guidance")
            raise NotFinite(f"the model gives values that are not finite at {where}", hint)
