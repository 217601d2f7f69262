"""TextToVideoPipeline: prompts, or a video and a prompt, to video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from t2v_core.diffusion.denoising import Denoising, Look, Progress
from t2v_core.diffusion.guidance import Guidance
from t2v_core.diffusion.samplers import SAMPLERS
from t2v_core.diffusion.schedules import Sampler
from t2v_core.disk.plain_json import read_table
from t2v_core.errors import InvalidRequest
from t2v_core.models.conditioning import Conditioning, null_prompt
from t2v_core.models.denoisers.by_name import DENOISERS
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.models.encoders import PromptEncoder, VideoAutoencoder
from t2v_core.models.finite import hint_for, require_finite
from t2v_core.models.loading import EncoderIdentity
from t2v_core.models.text import TextEmbedding

# Frames through the VAE at a time.
BATCH_FRAMES = 32


@dataclass
class TextToVideoOutput(BaseOutput):
    """frames: (videos, frames, height, width, 3) uint8 RGB"""

    frames: Tensor


class TextToVideoPipeline(DiffusionPipeline, Denoising):
    """A video autoencoder, a CLIP text tower, a denoiser and the sampler it was trained for.

    Saves to and loads from a directory: `pipeline.save_pretrained(DIR)`, `TextToVideoPipeline.from_pretrained(DIR)`.
    """

    model_cpu_offload_seq = "text_encoder->denoiser->vae"
    videos_at_once = 8  # more takes more memory and, on a CPU, no less time

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        denoiser: Denoiser,
        scheduler: Sampler,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, denoiser=denoiser, scheduler=scheduler
        )
        unnamed = EncoderIdentity("pipeline", "")
        self.autoencoder = VideoAutoencoder(vae, unnamed)
        self.prompt_encoder = PromptEncoder(text_encoder, tokenizer, unnamed)

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Return (frames, channels, height, width) of the clips the denoiser was trained on."""
        config: Any = self.denoiser.config
        return (config.num_frames, config.in_channels, config.sample_size, config.sample_size)

    @property
    def frame_size(self) -> tuple[int, int]:
        """Return (height, width) in pixels of what it makes."""
        side = self.latent_shape[-1] * self.autoencoder.downsampling
        return (side, side)

    @property
    def arithmetic(self) -> torch.dtype:
        """Return the type of number that the denoiser computes with."""
        return self.denoiser.dtype

    def frames_of_latents(self, frames: int | None) -> int:
        """Return `frames`, or what the denoiser was trained on. Raises InvalidRequest beyond that."""
        most = self.latent_shape[0]
        if frames is not None and frames > most:
            raise InvalidRequest(
                f"{frames} frames were asked for, and this model was trained on {most}",
                hint=f"use --frames {most} or fewer",
            )
        return frames or most

    def tokens_read(self, prompt: str) -> tuple[int, int]:
        """Return how many tokens a prompt has, and how many of them CLIP reads at most."""
        return self.prompt_encoder.count_tokens(prompt), self.prompt_encoder.max_length

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        num_frames: int | None = None,
        num_inference_steps: int = 20,
        guidance_scale: float = 2.0,
        guidance_rescale: float = 0.0,
        seed: int = 0,
        progress: Progress | None = None,
        look: Look | None = None,
    ) -> TextToVideoOutput:
        """Make one video a prompt; video i starts from the noise of `seed + i`.

        num_frames: at most, and by default, what the denoiser was trained on
        guidance_scale: 1 follows the prompt without a pull and takes half the time; guidance_rescale: see Guidance
        progress: called with (steps done, steps) after each step; what it raises ends the run
        look: called with the latents after each step
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        latents = self.draw(
            prompts,
            frames=num_frames or self.latent_shape[0],
            steps=num_inference_steps,
            guidance=Guidance(guidance_scale, guidance_rescale),
            seed=seed,
            progress=progress,
            look=look,
        )
        return TextToVideoOutput(frames=self.decode(latents))

    @torch.no_grad()
    def refine(
        self,
        frames: Tensor,
        prompt: str,
        *,
        strength: float,
        num_inference_steps: int = 50,
        guidance_scale: float = 2.0,
        guidance_rescale: float = 0.0,
        seed: int = 0,
        overlap: int | None = None,
        progress: Progress | None = None,
        look: Look | None = None,
    ) -> TextToVideoOutput:
        """Noise a video to `strength` and denoise it towards the prompt, whatever its length.

        frames: (frames, height, width, 3) uint8, already of the model's height and width
        overlap: frames that neighbouring windows share, where their predictions are blended at every step
        Raises InvalidRequest when strength and steps leave no step. Source: Meng et al. 2021, algorithm 1.
        """
        latents = self.refine_latents(
            self.encode(frames), prompt, strength=strength, num_inference_steps=num_inference_steps,
            guidance=Guidance(guidance_scale, guidance_rescale), seed=seed, overlap=overlap, progress=progress,
            look=look,
        )  # fmt: skip
        return TextToVideoOutput(frames=self.decode(latents))

    def _conditioning(self, prompts: Sequence[str], guidance: Guidance) -> Conditioning:
        """The prompts, and after them the null prompt as often when there is guidance."""
        embeddings = self.prompt_encoder.encode(prompts)
        if guidance.scale != 1:
            embeddings += [null_prompt(self.denoiser)] * len(embeddings)
        if not self.denoiser.config.pooled_dim:
            embeddings = [TextEmbedding(e.tokens, e.pooled[:0]) for e in embeddings]
        return Conditioning.of(embeddings).to(self.denoiser.device, self.denoiser.dtype)

    def _predict(self, latents: Tensor, timestep: Tensor, prompts: Conditioning, guidance: Guidance) -> Tensor:
        """The denoiser's answer, guided, in float32 on the CPU."""
        repeats = len(prompts.tokens) // len(latents)
        batch = latents.repeat(repeats, 1, 1, 1, 1).to(self.denoiser.device, self.denoiser.dtype)
        timesteps = timestep.to(batch.device).expand(len(batch), *timestep.shape)
        answer = self.denoiser(batch, timesteps, prompts.tokens, prompts.mask, prompts.pooled).float().cpu()
        if repeats == 1:
            return answer
        conditional, unconditional = answer.chunk(2)
        return guidance.combine(conditional, unconditional)

    def encode(self, frames: Tensor, *, batch: int = BATCH_FRAMES) -> Tensor:
        """Encode (frames, height, width, 3) uint8 to (frames, channels, h, w) float32 latents. Raises NotFinite."""
        latents = torch.cat([self.autoencoder.encode(part) for part in frames.split(batch)])
        hint = hint_for(self.autoencoder.model.dtype, "name another one: --vae")
        require_finite(latents, f"the VAE {self.autoencoder.identity.source}", hint)
        return latents

    def encode_parts(self, parts: Iterable[Tensor]) -> Tensor:
        """Encode frames as they come, (n, height, width, 3) uint8 each; returns (frames, channels, h, w)."""
        return torch.cat([self.encode(part) for part in parts])

    def glimpse(self, latents: Tensor) -> Tensor:
        """Return (n, height, width, 3) uint8 for n frames of latents (n, channels, h, w)."""
        return self.decode(latents[None])[0]

    def decode(self, latents: Tensor, *, batch: int = BATCH_FRAMES) -> Tensor:
        """Decode a few frames at a time.

        (videos, frames, channels, h, w) → (videos, frames, height, width, 3) uint8
        """
        frames = torch.cat(list(self.decode_parts(latents.flatten(0, 1), batch=batch)))
        return frames.unflatten(0, latents.shape[:2])

    def decode_parts(self, latents: Tensor, *, batch: int = BATCH_FRAMES) -> Iterator[Tensor]:
        """Yield a few frames at a time, (n, height, width, 3) uint8, decoded as they are taken.

        latents: (frames, channels, h, w)
        """
        return (self.autoencoder.decode(part) for part in latents.split(batch))

    @classmethod
    def from_pretrained(cls, directory: str | Path, **_options: Any) -> TextToVideoPipeline:
        """Load what `save_pretrained` wrote. (diffusers' own loader imports only classes of its own package.)"""
        root = Path(directory)
        index = read_table(root / "model_index.json")
        return cls(
            vae=AutoencoderKL.from_pretrained(root / "vae"),
            text_encoder=CLIPTextModelWithProjection.from_pretrained(root / "text_encoder"),
            tokenizer=CLIPTokenizer.from_pretrained(root / "tokenizer"),
            denoiser=DENOISERS[index["denoiser"][1]].from_pretrained(root / "denoiser"),
            scheduler=SAMPLERS[index["scheduler"][1]].from_pretrained(root / "scheduler"),
        )
