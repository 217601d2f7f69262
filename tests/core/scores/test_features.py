"""A network of the user's own: both kinds of file, every form, and what is wrong with a file in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from t2v_core.errors import InvalidRequest
from t2v_core.models.finite import NotFinite
from t2v_core.scores.features import FeatureNetwork

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # such files are what people have


class Plain(nn.Module):
    """Mean of each channel, and how it changes: 6 features."""

    def forward(self, video: Tensor) -> Tensor:
        change = (video[:, :, 1:] - video[:, :, :-1]).abs()
        return torch.cat([video.mean((2, 3, 4)), change.mean((2, 3, 4))], 1)


class I3d(nn.Module):
    def forward(
        self, video: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> Tensor:
        if not (rescale and resize and return_features):
            raise ValueError("called as somebody else calls it")
        return video.mean((2, 3, 4)) / 255


class Faulty(nn.Module):
    def forward(self, video: Tensor) -> Tensor:
        return video.mean((2, 3, 4)) / video.amax() * float("nan")


def saved(module: nn.Module, file: Path) -> Path:
    torch.jit.save(torch.jit.script(module), str(file))
    return file


@pytest.fixture
def frames() -> Tensor:
    video = torch.zeros(4, 16, 16, 3, dtype=torch.uint8)
    video[..., 1] = 255
    video[2:, ..., 0] = 51
    return video


def test_torchscript_and_an_exported_program_say_the_same(frames: Tensor, tmp_path: Path) -> None:
    scripted = saved(Plain(), tmp_path / "net.pt")
    exported = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(Plain(), (torch.zeros(1, 3, 4, 16, 16),)), str(exported))
    rows = [FeatureNetwork(file, "plain").embed(frames) for file in (scripted, exported)]
    for row in rows:
        torch.testing.assert_close(row, torch.tensor([0.1, 1, 0, 0.2 / 3, 0, 0]))


def test_i3d_gets_whole_values_and_is_called_as_it_wants_to_be(frames: Tensor, tmp_path: Path) -> None:
    row = FeatureNetwork(saved(I3d(), tmp_path / "i3d.pt"), "i3d").embed(frames)
    torch.testing.assert_close(row, torch.tensor([0.1, 1, 0]))


def test_videomae_gets_16_frames_of_224_normalised(frames: Tensor, tmp_path: Path) -> None:
    class Seen(nn.Module):
        def forward(self, video: Tensor) -> Tensor:
            sizes = torch.tensor([float(size) for size in video.shape])
            return torch.cat([sizes, video.mean((0, 2, 3, 4))])[None]

    row = FeatureNetwork(saved(Seen(), tmp_path / "mae.pt"), "videomae").embed(frames)
    assert row[:5].tolist() == [1, 3, 16, 224, 224]
    torch.testing.assert_close(row[6:8], torch.tensor([(1 - 0.456) / 0.224, -0.406 / 0.225]))


def test_rows_of_tokens_become_their_mean(frames: Tensor, tmp_path: Path) -> None:
    class Tokens(nn.Module):
        def forward(self, video: Tensor) -> Tensor:
            return torch.stack([video.mean((2, 3, 4)), 3 * video.mean((2, 3, 4))], 1)

    row = FeatureNetwork(saved(Tokens(), tmp_path / "tokens.pt"), "plain").embed(frames)
    torch.testing.assert_close(row, torch.tensor([0.2, 2, 0]))


@pytest.mark.parametrize("content", [b"", b"not a network", b"PK\x03\x04 half", None, "state dict", "folder"])
def test_a_file_that_is_none_is_one_sentence(content: Any, tmp_path: Path) -> None:
    file = tmp_path / "net.pt"
    if content == "state dict":
        torch.save(Plain().state_dict(), file)
    elif content == "folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidRequest) as caught:
        FeatureNetwork(file, "plain")
    assert str(file) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_network_that_cannot_take_the_form_says_so(frames: Tensor, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot take a video of") as caught:
        FeatureNetwork(saved(Plain(), tmp_path / "net.pt"), "i3d").embed(frames)
    assert "--features-form" in caught.value.hint


def test_features_that_are_not_finite_are_no_score(frames: Tensor, tmp_path: Path) -> None:
    with pytest.raises(NotFinite):
        FeatureNetwork(saved(Faulty(), tmp_path / "net.pt"), "plain").embed(frames)
