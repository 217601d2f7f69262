"""Pixels that are not square, as DVD, DV and HDV have them: a circle stays a circle."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from support.engine.odd_videos import YUV420, ffmpeg
from support.engine.small_checkpoint import save_small_checkpoint
from support.hosts.door import through_the_door
from test_odd_videos import TURNS, turn_in_file

from t2v_core.data.video.decode import DecodedClip, read_all_frames, read_frames
from t2v_core.data.video.frames import write_video
from t2v_core.data.video.resize import resize_and_crop

SIDE = 96  # lines of the film
# width over height of a pixel: PAL and NTSC, 4:3 and 16:9, HDV, CinemaScope, and one that is higher than wide
SHAPES = ("16/15", "64/45", "8/9", "32/27", "4/3", "2/1", "1/2")


def circle(aspect: Fraction, *, dx: int = 0) -> NDArray[np.uint8]:
    """8 frames of a white circle of 60 lines in the middle, as it lies in a file of such pixels; even sides."""
    width = round(SIDE * 1.5 / aspect / 2) * 2
    y, x = np.mgrid[:SIDE, :width]
    is_inside = ((x - width / 2 + 0.5 + dx) * float(aspect)) ** 2 + (y - SIDE / 2 + 0.5) ** 2 < 30**2
    return np.repeat(np.where(is_inside[None, :, :, None], 255, 0).astype(np.uint8), 8, axis=0).repeat(3, axis=3)


def extent(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of what is bright."""
    bright = image.mean(-1) > 127
    return int(bright.any(0).sum()), int(bright.any(1).sum())


def film(path: Path, aspect: str) -> Path:
    write_video(path, circle(Fraction(aspect)), fps=8, crf=1, pixel_aspect=Fraction(aspect))
    return path


def squared(clip: DecodedClip, size: int = 96) -> NDArray[np.uint8]:
    return resize_and_crop(torch.from_numpy(clip.frames), size, clip.pixel_aspect).numpy()


@pytest.mark.parametrize("aspect", SHAPES)
def test_a_circle_is_a_circle_for_the_model(tmp_path: Path, aspect: str) -> None:
    for clip in (read_frames(film(tmp_path / "in.mp4", aspect), 3), read_all_frames(tmp_path / "in.mp4")):
        assert clip.pixel_aspect == Fraction(aspect)
        width, height = extent(squared(clip)[0])
        assert abs(width - 60) <= 2
        assert abs(height - 60) <= 2


@pytest.mark.parametrize("container", ["mp4", "mkv", "mpg", "avi", "ts"])
def test_whichever_header_says_the_shape_it_counts(tmp_path: Path, container: str) -> None:
    codec = ("-c:v", "mpeg2video", *YUV420) if container == "mpg" else ("-c:v", "libx264", *YUV420)
    path = tmp_path / f"film.{container}"
    source = "testsrc2=size=128x96:rate=25:duration=0.4"
    ffmpeg("-f", "lavfi", "-i", source, "-vf", "setsar=1" if container == "mpg" else "setsar=2", "-aspect", "16:9",
           *codec, path)  # fmt: skip
    clip = read_all_frames(path)
    assert clip.frames.shape[1:3] == (96, 128)
    assert float(clip.pixel_aspect) * 128 / 96 == pytest.approx(16 / 9, rel=0.01)


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_film_has_turned_pixels(tmp_path: Path, turn: str) -> None:
    path = film(tmp_path / "turned.mp4", "2/1")
    turn_in_file(path, TURNS[turn][0])
    clip = read_all_frames(path)
    assert clip.pixel_aspect == (Fraction(1, 2) if clip.frames.shape[1] > SIDE / 2 and "0" in turn and turn != "180"
                                 else 2)  # fmt: skip
    width, height = extent(squared(clip)[0])
    assert abs(width - height) <= 2


def test_noise_keeps_the_shape_in_an_mp4_and_a_gif_is_as_wide_as_it_is_shown(tmp_path: Path) -> None:
    film(tmp_path / "in.mp4", "2/1")
    for name in ("out.mp4", "out.gif", "out.webp"):
        assert through_the_door(tmp_path, "add-noise", input="in.mp4", output=name, strength=0).code == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio) == (72, SIDE, 2)
    for name in ("out.gif", "out.webp"):
        with Image.open(tmp_path / name) as image:
            assert image.size == (144, SIDE)
            width, height = extent(np.asarray(image.convert("RGB")))
        assert abs(width - height) <= 2


def test_refining_shows_the_model_what_players_show(tmp_path: Path) -> None:
    save_small_checkpoint(tmp_path)
    film(tmp_path / "in.mp4", "2/1")
    ended = through_the_door(
        tmp_path, "refine", input="in.mp4", output="out.mp4", prompt="a circle", steps=10, device="cpu"
    )
    assert ended.warnings == "the video is 144×96; its middle goes through the model at 64×64"
    assert read_all_frames(tmp_path / "out.mp4").pixel_aspect == 1


def test_latents_are_those_of_the_film_in_square_pixels(tmp_path: Path) -> None:
    def latents(name: str, aspect: Fraction, frames: NDArray[np.uint8]) -> Any:
        data = tmp_path / name
        (data / "videos").mkdir(parents=True)
        (data / "annotations").mkdir()
        write_video(data / "videos/v0.mp4", frames, fps=8, crf=1, pixel_aspect=aspect)
        (data / "annotations/train.json").write_text(json.dumps([{"video_id": "v0", "caption": "a circle"}]))
        ended = through_the_door(
            tmp_path, "preprocess", data=name, vae="embedded", text_encoder="embedded", frames=8, size=64, device="cpu"
        )
        assert ended.code == 0
        from t2v_core.data.store.latents import LatentStore
        from t2v_core.workspace import Dataset

        store = LatentStore.open(Dataset(data), "train")
        return store.latents([0]), store.clip(0)

    wide, entry = latents("wide", Fraction(2), circle(Fraction(2)))
    square, plain = latents("square", Fraction(1), circle(Fraction(1)))
    squashed, _ = latents("squashed", Fraction(1), circle(Fraction(2)))
    assert (entry["pixel_aspect"], "pixel_aspect" in plain) == (2.0, False)
    assert (wide - square).abs().mean() < (squashed - square).abs().mean() / 4


def test_a_check_says_how_many_and_which_shape(tmp_path: Path) -> None:
    (tmp_path / "data/videos").mkdir(parents=True)
    film(tmp_path / "data/videos/v0.mp4", "64/45")
    film(tmp_path / "data/videos/v1.mp4", "1/1")
    ended = through_the_door(tmp_path, "check", data="data", workers=1)
    text = (tmp_path / ended.done["paths"][0]).read_text()
    assert "not square (1.422 : 1: 1)" in text
