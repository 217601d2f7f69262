"""FlowMapTransformer: a VideoTransformer that goes from one time to another in one pass, however far that is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from t2v_core.models.denoisers.denoiser import TIME_FREQUENCIES, timestep_embedding
from t2v_core.models.denoisers.video_transformer import VideoTransformer


class FlowMapTransformer(VideoTransformer):
    """Answers with the mean velocity between two times, where a VideoTransformer tells the velocity at one.

    The time to go to is embedded as the time to come from is, and enters through a gate that starts at zero: with a
    trained model's weights it is that model, until it is distilled.

    Its `timesteps` are (batch, 2), from and to; (batch,) asks for the velocity at that time.
    Source: Geng et al. 2025 (Mean Flows for One-step Generative Modeling), eq. 3.
    """

    def _embed_more_of_time(self, hidden_size: int) -> None:
        self.end_embed = nn.Sequential(
            nn.Linear(2 * TIME_FREQUENCIES, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )
        self.end_gate = nn.Parameter(torch.zeros(hidden_size))

    def embed_time(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        """Return what the layers know of both times, (batch, hidden_size)."""
        begin, end = timesteps.unbind(-1) if timesteps.dim() == 2 else (timesteps, timesteps)
        embedded_end: Tensor = self.end_embed(timestep_embedding(end).to(dtype))
        return super().embed_time(begin, dtype) + self.end_gate * embedded_end

    def begin_as(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of a trained VideoTransformer, and its embedding of time for both times."""
        ends = {name.replace("time_", "end_", 1): value for name, value in weights.items() if name.startswith("time_")}
        self.load_state_dict({**weights, **ends, "end_gate": torch.zeros_like(self.end_gate)})
