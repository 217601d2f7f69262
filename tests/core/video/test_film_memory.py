"""How much memory a film takes does not depend on its length, and a lack of memory is never blamed on the film."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.engine.small_checkpoint import save_small_checkpoint
from support.engine.training_set import contents
from support.hosts.door import through_the_door

from t2v_core.data.annotations.msrvtt import Clip
from t2v_core.data.check.check_clip import check_clip
from t2v_core.data.store.ahead import ReadyClip, decode_ahead
from t2v_core.data.store.buckets import Bucket
from t2v_core.data.video.decode import open_film, read_all_frames, read_frames
from t2v_core.data.video.frames import require_memory, write_video
from t2v_core.data.video.resize import resize_and_crop, shrink_to
from t2v_core.errors import NotEnoughMemory
from t2v_core.machine import forget_peak, peak_resident_bytes, resident_bytes

WIDTH, HEIGHT = 960, 540
FRAME_BYTES = WIDTH * HEIGHT * 3
# The short one fills what does not depend on length: 32 frames wait for the VAE, 60 in x264.
SHORT, LONG = 80, 240
ROOT = Path(__file__).parents[3]
TIMEOUT_S = 120

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not tell the peak")


def pictures(count: int, *, width: int = WIDTH, height: int = HEIGHT) -> Iterable[NDArray[np.uint8]]:
    for number in range(count):
        yield np.full((height, width, 3), number, np.uint8)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a film, one that is three times as long, and a small model."""
    root = tmp_path_factory.mktemp("films")
    for name, count in (("short", SHORT), ("long", LONG)):
        write_video(root / f"data/videos/{name}.mp4", pictures(count), fps=30, crf=40)
    save_small_checkpoint(root)
    return root


def peak_of(work: Callable[[], object]) -> int:
    """Bytes beyond what the process held before."""
    forget_peak()
    before = resident_bytes()
    work()
    return peak_resident_bytes() - before


def film(root: Path, name: str) -> Path:
    return root / f"data/videos/{name}.mp4"


def add_noise(root: Path, name: str) -> None:
    target = str(root / f"noised-{name}.mp4")
    values: dict[str, Any] = {"input": str(film(root, name)), "output": target, "strength": 0}
    assert through_the_door(root, "add-noise", **values).code == 0


def refine(root: Path, name: str) -> None:
    values: dict[str, Any] = {"input": str(film(root, name)), "output": str(root / f"refined-{name}.mp4")}
    ended = through_the_door(root, "refine", **values, prompt="a", steps=1, strength=1, device="cpu")
    assert ended.code == 0, ended.log


def preprocess(root: Path, name: str) -> None:
    small = Bucket(16, 64, 64)
    clips = [(Clip(name, film(root, name), ["a"]), small)]
    with decode_ahead(clips, largest=small, ahead=1) as decoded:
        ((_, ready),) = decoded
    assert isinstance(ready, ReadyClip)


def check(root: Path, name: str) -> None:
    check_clip(film(root, name))


@pytest.mark.parametrize("work", [pytest.param(add_noise, marks=pytest.mark.slow), refine, preprocess, check])
def test_a_film_three_times_as_long_takes_no_more_memory(work: Callable[[Path, str], None], films: Path) -> None:
    """The long one's frames are 373 MB, the short one's 124. Warm first: libraries keep what they once had."""
    work(films, "short")
    short, long = (peak_of(lambda name=name: work(films, name)) for name in ("short", "long"))  # type: ignore[misc]
    assert long - short < 25 * FRAME_BYTES, (short / FRAME_BYTES, long / FRAME_BYTES)


def test_frames_that_are_shrunk_as_they_come_are_those_that_are_shrunk_together(films: Path) -> None:
    path = film(films, "long")
    together = read_frames(path, 16)
    alone = read_frames(path, 16, shrink=shrink_to(64))
    assert np.array_equal(alone.frames, resize_and_crop(torch.from_numpy(together.frames), 64).numpy())
    assert (alone.indices, alone.effective_fps, alone.pixel_aspect) == (
        together.indices, together.effective_fps, together.pixel_aspect,
    )  # fmt: skip


def test_a_film_is_the_same_frames_one_by_one(films: Path) -> None:
    whole, opened = read_all_frames(film(films, "short")), open_film(film(films, "short"))
    assert np.array_equal(list(opened.frames()), whole.frames)
    assert (opened.width, opened.height, opened.total_frames) == (WIDTH, HEIGHT, SHORT)
    assert opened.source_fps == whole.source_fps


def test_a_gif_that_would_not_fit_into_memory_is_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughMemory, match=r"a gif of 10,000,000 frames of 1920×1080 takes .* TB of memory"):
        require_memory(tmp_path / "a.gif", 10_000_000, 1920, 1080)
    require_memory(tmp_path / "a.mp4", 10_000_000, 1920, 1080)


# Where memory is limited

READ = """
import resource, sys
from pathlib import Path
from t2v_core.data.video.container import UnreadableClip
from t2v_core.data.video.decode import open_film
from t2v_core.data.check.check_clip import check_clip
from t2v_core.errors import NotEnoughMemory
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
limit = int(status["VmSize"].split()[0]) * 1024 + int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    path = Path(sys.argv[1])
    print(check_clip(path).frames if sys.argv[3] == "check" else sum(1 for _ in open_film(path).frames()))
except NotEnoughMemory as error:
    print("not enough:", error.message)
except MemoryError:
    print("not enough:")
except UnreadableClip as error:
    print("blamed:", error.reason, error.detail)
"""


@pytest.mark.parametrize("how", ["film", "check"])
@pytest.mark.parametrize("spare_mb", [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 4096])
def test_however_little_there_is_a_good_film_is_read_or_memory_is_named(how: str, spare_mb: int, films: Path) -> None:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", READ, str(film(films, "short")), str(spare_mb), how],
        capture_output=True, text=True, cwd=ROOT, env=environment, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    said = ended.stdout.strip()
    if spare_mb == 0 and ended.returncode == -signal.SIGSEGV:
        return  # with nothing at all the libraries below may end before anybody can say why
    assert said == str(SHORT) or said.startswith("not enough:"), (said, ended.stderr)
    if spare_mb == 4096:
        assert said == str(SHORT)


PREPARE = """
import resource, sys
from pathlib import Path
from t2v_core.data.store.ahead import decode_ahead
from t2v_core.data.store.buckets import Bucket
from t2v_core.data.annotations.msrvtt import Clip
from t2v_core.errors import NotEnoughMemory
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
limit = int(status["VmSize"].split()[0]) * 1024 + 48 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    wanted = Bucket(16, 512, 512)
    with decode_ahead([(Clip("a", Path(sys.argv[1]), ["a"]), wanted)], largest=wanted, ahead=1) as decoded:
        print(list(decoded))
except NotEnoughMemory as error:
    print("not enough:", error.message)
"""


def test_preprocessing_that_lacks_memory_ends_and_sets_no_clip_aside(films: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PREPARE, str(film(films, "short"))],
        capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert ended.stdout.startswith("not enough: not enough memory to read "), (ended.stdout, ended.stderr)


def test_a_check_that_lacks_memory_fails_and_lists_no_good_clip(tmp_path: Path) -> None:
    """A limit that lets the checking processes start and gives them nothing to decode large frames with."""
    write_video(tmp_path / "data/videos/large.mp4", pictures(6, width=4096, height=2304), fps=30, crf=40)
    before = contents(tmp_path / "data/videos")
    job = tmp_path / "jobs/20260101-000000-check-0000"
    job.mkdir(parents=True)
    (job / "spec.json").write_text('{"data": "data", "workers": 2}')
    limit_kb = 330_000
    ended = subprocess.run(
        ["sh", "-c", f"ulimit -v {limit_kb}; exec {sys.executable} -m t2v_core check {job}"],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.startswith("not enough memory to decode "), ended.stderr
    assert "large" not in (tmp_path / "data/quarantine.csv").read_text()
    assert contents(tmp_path / "data/videos") == before
