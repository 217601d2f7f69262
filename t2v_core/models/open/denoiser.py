"""An open model as training has any: noisy latents, timesteps and prompts in, what its sampler takes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from t2v_core.models.conditioning import Conditioning
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.models.loading import quiet
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.layout import TRANSFORMERS
from t2v_core.models.text import TextEmbedding

# What a transformer that is told how strong the guidance is gets told in training: that there is none.
NO_GUIDANCE = 1.0


class OpenDenoiser(Denoiser):
    """The transformers of an open model: one, or an expert for each range of noise.

    null: the encoded empty prompt, which dropped captions become
    """

    def __init__(self, model: OpenModel, null: TextEmbedding) -> None:
        super().__init__(text_dim=null.tokens.shape[1], pooled_dim=null.pooled.numel(), null_length=len(null.tokens))
        self.register_to_config(family=model.name)
        self.model = model
        self.adapter_targets = model.adapter_targets
        for name in TRANSFORMERS:
            if name in model.parts.names:
                self.add_module(name, model.parts.use(name))
        self._repeated_blocks = self.get_submodule("transformer")._repeated_blocks
        self.set_null_prompt(null.tokens, null.pooled)

    def forward(
        self, latents: Tensor, timesteps: Tensor, text: Tensor, mask: Tensor | None, pooled: Tensor | None
    ) -> Tensor:
        """Return the prediction, (batch, frames, channels, height, width) as the latents are.

        Each clip is answered by the expert of its timestep.
        """
        assert mask is not None  # training has both
        assert pooled is not None
        experts = [self.model.transformer_at(float(timestep)) for timestep in timesteps]
        prompts = self.model.padded(Conditioning(text, mask, pooled))
        answers: list[Tensor | None] = [None] * len(latents)
        for name in dict.fromkeys(experts):
            rows = [row for row, expert in enumerate(experts) if expert == name]
            part = Conditioning(prompts.tokens[rows], prompts.mask[rows], prompts.pooled[rows])
            answer = self._answer(self.get_submodule(name), latents[rows], timesteps[rows], part)
            for row, one in zip(rows, answer, strict=True):
                answers[row] = one
        return torch.stack([one for one in answers if one is not None])

    def _answer(self, transformer: Any, latents: Tensor, timesteps: Tensor, prompts: Conditioning) -> Tensor:
        dtype = self.model.dtype
        x = latents.transpose(1, 2).to(dtype)
        told = Conditioning(prompts.tokens.to(dtype), prompts.mask, prompts.pooled.to(dtype))
        times = self.model.time_of(timesteps).float()
        return self.model.forward(transformer, x, times, told, NO_GUIDANCE).transpose(1, 2)

    def adapted_parts(self) -> dict[str, nn.Module]:
        """Return the transformers, under diffusers' names."""
        return {name: module for name, module in self.named_children() if name in TRANSFORMERS}

    @classmethod
    def completed(cls, config: dict[str, Any], *, preset: str, attention: str) -> dict[str, Any]:  # noqa: ARG003 - all are called alike
        """Return the configuration as it is: nothing of an open model follows from a preset."""
        return config

    @property
    def over_time(self) -> str:
        """Say how frames see each other, in words."""
        return self.model.name


class EveryTokenIsReal(TorchFunctionMode):
    """While inside, a transformer that looks which tokens are real (Mochi) can be asked without data: all are."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nonzero:
            return args[0].new_empty(args[0].numel(), args[0].dim(), dtype=torch.long)
        return func(*args, **(kwargs or {}))


def flops_of(model: OpenModel, shape: tuple[int, ...]) -> float:
    """Return the floating-point operations of a forward and backward pass over one clip, counted on shapes alone.

    shape: of its latents
    """
    empty = model.parts.empty("transformer")
    with FakeTensorMode(), quiet(), torch.no_grad():
        transformer = type(empty).from_config(dict(empty.config)).eval()
        x = torch.empty(1, shape[1], shape[0], *shape[2:])
        tokens, pooled = torch.empty(1, model.text_length, model.text_width), torch.empty(1, model.pooled_width)
        prompts = Conditioning(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), pooled)
        with FlopCounterMode(display=False) as counter, EveryTokenIsReal():
            model.forward(transformer, x, torch.zeros(1), prompts, NO_GUIDANCE)
    return 3.0 * counter.get_total_flops()
