"""What the tests of transfers share: files to move, a pull or push run to its end, and how much went over the wire."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from bench.chaos import Rules

from remote.jobs.client import HostJobs
from remote.transfer.plan.pull_plan import plan_pull
from remote.transfer.plan.push_plan import plan_push
from remote.transfer.progress import Phase, TransferProgress
from remote.transfer.pull import Pulling
from remote.transfer.push import Pushing
from remote.transfer.ranges import Sizes
from support.hosts.far_host import Far, far_host, seen_soon
from t2v_core.disk.files import staged_directory

KIB = 1024
# Everything a hundred times smaller than in life, so that a file of 600 kB has many ranges.
SMALL = Sizes(range_bytes=32 * KIB, small_bytes=8 * KIB, batch_bytes=32 * KIB)
STREAMS = 3
# What a connection costs before it moves anything: SSH's handshake and the agent's greeting.
GREETING_BYTES = 8 * KIB


def write_checkpoint(root: Path, step: int, *, size: int = 600 * KIB, seed: int | None = None) -> Path:
    """A complete checkpoint with one big file, a middle one and small ones."""
    draw, path = random.Random(step if seed is None else seed), root / f"checkpoints/checkpoint_step_{step}"
    with staged_directory(path) as partial:
        (partial / "model.safetensors").write_bytes(draw.randbytes(size))
        (partial / "ema.safetensors").write_bytes(draw.randbytes(size // 7))
        (partial / "notes.txt").write_bytes(draw.randbytes(300))
        (partial / "trainer.json").write_text(json.dumps({"step": step}))
    return path


def write_videos(root: Path, number: int, *, seed: int = 0) -> None:
    draw = random.Random(seed)
    (root / "outputs").mkdir(exist_ok=True)
    for place in range(number):
        (root / f"outputs/v{place}.mp4").write_bytes(draw.randbytes(draw.randrange(20 * KIB)))


def pulled(
    jobs: HostJobs,
    *what: str,
    look: Callable[[TransferProgress], None] = lambda _: None,
    sizes: Sizes = SMALL,
    streams: int = STREAMS,
    is_latest: bool = False,
    is_replacing: bool = False,
) -> list[TransferProgress]:
    """A pull to its end. look: is shown every row"""
    rows = []
    plan = plan_pull(jobs, what, is_latest=is_latest, is_replacing=is_replacing)
    for row in Pulling(jobs, plan, sizes=sizes, most_streams=streams):
        rows.append(row)
        look(row)
    return rows


def pushed(
    jobs: HostJobs, *what: str, look: Callable[[TransferProgress], None] = lambda _: None, is_replacing: bool = False
) -> list[TransferProgress]:
    """A push to its end."""
    rows = []
    for row in Pushing(jobs, plan_push(jobs, what, is_replacing=is_replacing), sizes=SMALL, most_streams=STREAMS):
        rows.append(row)
        look(row)
    return rows


def landed(rows: Sequence[TransferProgress]) -> list[str]:
    return [row.path for row in rows if row.phase is Phase.LANDED]


def notes(rows: Sequence[TransferProgress]) -> list[str]:
    return [row.note for row in rows if row.phase is Phase.NOTE]


def same_tree(one: Path, other: Path) -> bool:
    """Every file of `one` is in `other`, byte for byte, and no other."""
    names = [{path.relative_to(top) for path in top.rglob("*") if path.is_file()} for top in (one, other)]
    if names[0] != names[1]:
        print("only in one:", sorted(map(str, names[0] ^ names[1])))
    differing = [name for name in names[0] & names[1] if (one / name).read_bytes() != (other / name).read_bytes()]
    if differing:
        print("not the same:", sorted(map(str, differing)))
    return names[0] == names[1] and not differing


def left_behind(root: Path) -> list[Path]:
    """What is unfinished somewhere below."""
    return [path for path in root.rglob("*") if path.name.endswith((".part", ".part.journal", ".unit"))]


def cleared(far: Far, monkeypatch: pytest.MonkeyPatch) -> Far:
    """The same host with two empty workspaces and a proxy that behaves; nothing of this user's is read or written."""
    far.proxy.rules = Rules()
    seen_soon(monkeypatch)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(far.sshd.home))
    for root in (far.here.root, far.there):
        shutil.rmtree(root)
        root.mkdir()
    return far


@pytest.fixture(scope="module")
def server_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    """Take it as `server`."""
    with far_host(tmp_path_factory.mktemp("far")) as far:
        yield far


@pytest.fixture
def cleared_far(server: Far, monkeypatch: pytest.MonkeyPatch) -> Far:
    """Take it as `far`."""
    return cleared(server, monkeypatch)


def kill_sessions(far: Far) -> None:
    for pid in far.sshd.sessions():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
