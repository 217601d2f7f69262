"""The two encoders a latent text-to-video model stands on: a VAE for frames and CLIP for prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from t2v_core import embedded
from t2v_core.errors import InvalidRequest
from t2v_core.models.finite import hint_for, require_finite
from t2v_core.models.loading import UNLOADABLE, EncoderIdentity, find_model, identity, pick_device, pick_dtype, quiet
from t2v_core.models.text import TextEmbedding

VAE_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
CLIP_FILES = ("*.json", "*.txt", "model.safetensors")


class VideoAutoencoder:
    """A diffusers AutoencoderKL, frame by frame, with its latents normalised.

    z = (mode of the posterior − mean) / std · scaling_factor, with mean and std per channel where the configuration has
    them (ours) and 0 and 1 where it has not (Stable Diffusion's). Source: Rombach et al. 2022, §G.
    """

    def __init__(self, model: AutoencoderKL, source: EncoderIdentity) -> None:
        self.model = model.eval().requires_grad_(False)
        self.identity = source
        config: Any = model.config
        self.latent_channels: int = config.latent_channels
        self.downsampling: int = 2 ** (len(config.block_out_channels) - 1)
        self.default_size: int = config.sample_size
        self.scaling_factor: float = getattr(config, "scaling_factor", None) or 0.18215
        shape = (1, self.latent_channels, 1, 1)
        mean = config.latents_mean or [getattr(config, "shift_factor", None) or 0.0] * self.latent_channels
        std = config.latents_std or [1.0] * self.latent_channels
        self._mean = torch.tensor(mean, device=model.device).reshape(shape)
        self._std = torch.tensor(std, device=model.device).reshape(shape)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Encode (n, height, width, 3) uint8.

        Returns (n, channels, height / 8, width / 8) float32, normalised, on the CPU.
        """
        images = frames.to(self.model.device).movedim(-1, 1).to(self.model.dtype).div(127.5).sub(1)
        mode = self.model.encode(images).latent_dist.mode().float()
        return ((mode - self._mean) / self._std * self.scaling_factor).cpu()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode (n, channels, h, w), normalised, to (n, 8 h, 8 w, 3) uint8 on the CPU.

        Raises NotFinite for pixels that are no numbers, as fp16 gives them: they would be black.
        """
        z = latents.to(self.model.device, torch.float32) / self.scaling_factor * self._std + self._mean
        images = self.model.decode(z.to(self.model.dtype)).sample.float()
        require_finite(images, f"the VAE {self.identity.source}", hint_for(self.model.dtype, "name another one: --vae"))
        return images.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).movedim(1, -1).cpu()

    def clip_shape(self, frames: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return (frames, channels, height, width) of a clip's latents. Raises InvalidRequest for sides it cannot."""
        for side in size:
            if side % self.downsampling:
                raise InvalidRequest(
                    f"size {side} is not a multiple of {self.downsampling}, by which this VAE shrinks frames",
                    hint=f"--size {max(1, side // self.downsampling) * self.downsampling}",
                )
        return frames, self.latent_channels, size[0] // self.downsampling, size[1] // self.downsampling

    def encode_clips(self, frames: Tensor, *, clips: int, batch_frames: int) -> Tensor:
        """Encode (clips · n, height, width, 3) uint8 to (clips, n, channels, h, w) float32, some frames at a time."""
        latents = torch.cat([self.encode(part) for part in torch.split(frames, batch_frames)])
        return latents.unflatten(0, (clips, -1))

    def statistics(self) -> dict[str, Any]:
        """Say how latents were normalised, for a manifest."""
        return {
            "scaling_factor": self.scaling_factor,
            "mean": self._mean.flatten().tolist(),
            "std": self._std.flatten().tolist(),
        }


class PromptEncoder:
    """The text tower of a transformers CLIP. Prompts go through at their own length: the tower is causal, so padding
    changes nothing before it, and no padding is stored.

    padded_to: tokens that every prompt is padded to, none of them masked, as the previous system had it; None: as above
    """

    def __init__(self, model: CLIPTextModelWithProjection, tokenizer: CLIPTokenizer, source: EncoderIdentity) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.identity = source
        config: Any = model.config
        self.max_length: int = min(config.max_position_embeddings, tokenizer.model_max_length)
        self.dim: int = config.hidden_size
        self.pooled_dim: int = config.projection_dim
        self.padded_to: int | None = None

    def count_tokens(self, prompt: str) -> int:
        """Count the tokens of the whole prompt, start and end included, before any is cut off."""
        return len(self.tokenizer(prompt, truncation=False, verbose=False)["input_ids"])

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> list[TextEmbedding]:
        """Return one embedding a prompt; what lies beyond `max_length` tokens is cut off and said in `is_truncated`.

        Raises NotFinite.
        """
        batch = self.tokenizer(
            list(prompts),
            padding="max_length" if self.padded_to else True,
            truncation=True,
            max_length=self.padded_to or self.max_length,
            return_tensors="pt",
        ).to(self.model.device)
        counts = batch["attention_mask"].sum(1).tolist()
        output = self.model(input_ids=batch["input_ids"]) if self.padded_to else self.model(**batch)
        for values in (output.last_hidden_state, output.text_embeds):
            hint = hint_for(self.model.dtype, "name another one: --text-encoder")
            require_finite(values, f"the text encoder {self.identity.source}", hint)
        lengths = [self.padded_to or count for count in counts]
        return [
            TextEmbedding(
                output.last_hidden_state[row, :length].float().cpu().clone(),
                output.text_embeds[row].float().cpu().clone(),
                is_truncated=count == self.max_length and self.count_tokens(prompts[row]) > self.max_length,
            )
            for row, (length, count) in enumerate(zip(lengths, counts, strict=True))
        ]


def load_vae(source: str, *, device: str = "cpu", precision: str = "fp32") -> VideoAutoencoder:
    """Load a VAE from a hub id, a folder or `embedded`. It runs in fp32 or bf16: in fp16 SD's overflows to green.

    Raises InvalidRequest when it cannot be found or is not a VAE.
    """
    folder = find_model(source, embedded=embedded.VAE, files=VAE_FILES, what="VAE")
    place = pick_device(device)
    dtype = pick_dtype(precision, place)
    dtype = torch.float32 if dtype is torch.float16 else dtype
    try:
        with quiet():
            model = AutoencoderKL.from_pretrained(folder, torch_dtype=dtype, local_files_only=True)
    except UNLOADABLE as error:
        raise not_a_model("VAE", folder, error) from error
    return VideoAutoencoder(model.to(place), identity(source, folder))


def load_prompt_encoder(source: str, *, device: str = "cpu", precision: str = "fp32") -> PromptEncoder:
    """Load CLIP's text tower and tokenizer from a hub id, a folder or `embedded`. Raises as `load_vae`."""
    folder = find_model(source, embedded=embedded.CLIP, files=CLIP_FILES, what="text encoder")
    place = pick_device(device)
    try:
        with quiet():
            model = CLIPTextModelWithProjection.from_pretrained(
                folder, dtype=pick_dtype(precision, place), local_files_only=True
            )
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except UNLOADABLE as error:
        raise not_a_model("text encoder", folder, error) from error
    return PromptEncoder(model.to(place), tokenizer, identity(source, folder))


def not_a_model(what: str, folder: Path, error: Exception) -> InvalidRequest:
    """Return the typed error for a folder whose files a library could not load."""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InvalidRequest(
        f"{folder} holds no {what} that can be loaded: {first_line}", hint="name another --vae or --text-encoder"
    )
