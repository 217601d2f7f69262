"""The sound of a video goes with what is made of it, in step with the picture, or a word says why not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support.engine.odd_videos import PLAIN, ffmpeg
from support.engine.small_checkpoint import save_small_checkpoint
from support.hosts.door import EndedHere, through_the_door

RATE = 48_000
# A click at 1.0 s in a film of 2 s.
CLICK = f"aevalsrc='if(between(t,1,1.02),sin(2*PI*1000*t),0)':sample_rate={RATE}:duration=2"
PICTURE = "testsrc2=size=64x64:rate=25:duration=2"
AAC = ("-c:a", "aac")
FILES = {
    "aac.mp4": (*PLAIN, *AAC),
    "aac.mov": (*PLAIN, *AAC),
    "aac.ts": (*PLAIN, *AAC),
    "aac.mkv": (*PLAIN, *AAC),
    "aac.flv": (*PLAIN, *AAC),
    "mp3.avi": (*PLAIN, "-c:a", "libmp3lame"),
    "ac3.mkv": (*PLAIN, "-c:a", "ac3"),
    "opus.webm": ("-c:v", "libvpx", "-b:v", "1M", "-c:a", "libopus"),
    "flac.mkv": (*PLAIN, "-c:a", "flac"),
}
ANEW = {
    "pcm.avi": (*PLAIN, "-c:a", "pcm_s16le"),
    "pcm.mov": (*PLAIN, "-c:a", "pcm_s16be"),
    "vorbis.webm": ("-c:v", "libvpx", "-b:v", "1M", "-c:a", "libvorbis"),
    "wma.wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
    "mp2.mpg": ("-c:v", "mpeg2video", "-c:a", "mp2"),
}


def film(path: Path, *options: str, picture: str = PICTURE) -> Path:
    ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", CLICK, *options, path)
    return path


def click_s(path: Path) -> float:
    """When the loudest moment is, against the first frame."""
    with av.open(str(path)) as container:
        begin = next(container.decode(video=0)).time or 0.0
    samples, times = [], []
    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            start = frame.time or 0.0
            for part in resampler.resample(frame):
                values = part.to_ndarray()[0]
                times.append(start + np.arange(len(values)) / RATE)
                samples.append(values)
    loud = np.abs(np.concatenate(samples))
    return float(np.concatenate(times)[np.argmax(loud > loud.max() / 2)] - begin)


def codecs(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.codec_context.codec.canonical_name for stream in container.streams.audio]


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def add_noise(folder: Path, name: str, output: str = "out.mp4", **values: Any) -> EndedHere:
    return through_the_door(folder, "add-noise", input=name, output=output, strength=0.1, **values)


@pytest.mark.parametrize("name", FILES)
def test_sound_is_copied_as_it_is_and_in_step(tmp_path: Path, name: str) -> None:
    film(tmp_path / name, *FILES[name])
    ended = add_noise(tmp_path, name)
    assert (ended.code, ended.warnings) == (0, "")
    assert codecs(tmp_path / "out.mp4") == codecs(tmp_path / name)
    assert click_s(tmp_path / "out.mp4") == pytest.approx(click_s(tmp_path / name), abs=0.03)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].frames == 50


def test_a_copy_holds_the_same_packets(tmp_path: Path) -> None:
    film(tmp_path / "in.mp4", *FILES["aac.mp4"])
    add_noise(tmp_path, "in.mp4")
    assert sound_packets(tmp_path / "out.mp4") == sound_packets(tmp_path / "in.mp4")


@pytest.mark.parametrize("name", ANEW)
def test_what_an_mp4_does_not_hold_is_encoded_with_a_word(tmp_path: Path, name: str) -> None:
    film(tmp_path / name, *ANEW[name])
    ended = add_noise(tmp_path, name)
    assert ended.code == 0
    assert ended.warnings == f"the sound is encoded as AAC: an mp4 does not hold {codecs(tmp_path / name)[0]}"
    assert codecs(tmp_path / "out.mp4") == ["aac"]
    assert click_s(tmp_path / "out.mp4") == pytest.approx(click_s(tmp_path / name), abs=0.03)


def test_every_track_goes_along(tmp_path: Path) -> None:
    maps = ("-map", "0:v", "-map", "1:a", "-map", "1:a", "-c:a:0", "aac", "-c:a:1", "ac3")
    film(tmp_path / "two.mkv", *PLAIN, *maps)
    add_noise(tmp_path, "two.mkv")
    assert codecs(tmp_path / "out.mp4") == ["aac", "ac3"]


@pytest.mark.parametrize("cut", [("-ss", "0.52"), ("-ss", "0.52", "-t", "0.9"), ("-t", "1.3")])
@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_in_a_film_that_was_cut_it_stays_in_step(tmp_path: Path, container: str, cut: tuple[str, ...]) -> None:
    film(tmp_path / f"whole.{container}", *PLAIN, *AAC)
    path = tmp_path / f"cut.{container}"
    ffmpeg(*cut, "-i", tmp_path / f"whole.{container}", "-c", "copy", path)
    ended = add_noise(tmp_path, path.name)
    assert (ended.code, ended.warnings) == (0, "")
    assert click_s(tmp_path / "out.mp4") == pytest.approx(click_s(path), abs=0.03)


def test_it_can_be_left_out_without_a_word(tmp_path: Path) -> None:
    film(tmp_path / "in.mp4", *FILES["aac.mp4"])
    ended = add_noise(tmp_path, "in.mp4", sound=False)
    assert (ended.warnings, codecs(tmp_path / "out.mp4")) == ("", [])


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_a_format_without_sound_says_so(tmp_path: Path, suffix: str) -> None:
    film(tmp_path / "in.mp4", *FILES["aac.mp4"])
    ended = add_noise(tmp_path, "in.mp4", f"out.{suffix}")
    assert f"the sound is left out: a {suffix} has none; an mp4 would" in ended.warnings


def test_pictures_at_uneven_times_leave_it_out_and_say_how_far_it_would_be_off(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mp4", *PLAIN, *AAC)
    irregular = ("-vf", "select='not(mod(n,7))+lt(n,20)'", "-fps_mode", "vfr")
    ffmpeg("-i", whole, *irregular, *PLAIN, "-c:a", "copy", tmp_path / "vfr.mp4")
    ended = add_noise(tmp_path, "vfr.mp4")
    assert "the frames come at uneven times and are written at an even rate: some are 0." in ended.warnings
    assert "the sound is left out: it would not match pictures that are off by so much" in ended.warnings
    assert codecs(tmp_path / "out.mp4") == []


def test_refining_takes_it_along_even_in_place(tmp_path: Path) -> None:
    save_small_checkpoint(tmp_path)
    film(tmp_path / "in.mp4", *FILES["aac.mp4"])
    before = sound_packets(tmp_path / "in.mp4")
    refine = {"input": "in.mp4", "prompt": "a red circle", "steps": 10, "device": "cpu"}
    assert through_the_door(tmp_path, "refine", output="out.mp4", **refine).code == 0
    assert through_the_door(tmp_path, "refine", output="in.mp4", **refine).code == 0
    assert sound_packets(tmp_path / "out.mp4") == sound_packets(tmp_path / "in.mp4") == before
    assert click_s(tmp_path / "in.mp4") == pytest.approx(1, abs=0.03)


def test_picture_and_sound_lie_side_by_side_in_the_file(tmp_path: Path) -> None:
    long = ("-f", "lavfi", "-i", "testsrc2=size=32x32:rate=25:duration=30")
    ffmpeg(*long, "-f", "lavfi", "-i", "sine=duration=30", *PLAIN, *AAC, tmp_path / "in.mp4")
    add_noise(tmp_path, "in.mp4")
    furthest, latest = 0.0, {"video": 0.0, "audio": 0.0}
    with av.open(str(tmp_path / "out.mp4")) as container:
        packets = sorted((p for p in container.demux() if p.size), key=lambda packet: packet.pos or math.inf)
        for packet in packets:
            latest[packet.stream.type] = float(packet.pts * packet.time_base)
            furthest = max(furthest, abs(latest["video"] - latest["audio"]))
    assert furthest < 3
