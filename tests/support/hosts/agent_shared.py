"""One agent for the tests of a file, each in a workspace of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from remote.hosts.agent_client import Agent, ProcessChannel, frames
from support.hosts.agent_here import Here, agent


@pytest.fixture(scope="module")
def agent_of_module() -> Iterator[Agent]:
    with agent() as shared:
        yield shared


@pytest.fixture
def here_with_agent(tmp_path: Path, shared: Agent) -> Iterator[Here]:
    """A workspace of the test's own; at its end nothing of its jobs is left."""
    (tmp_path / "work").mkdir()
    here = Here(tmp_path / "work", shared)
    yield here
    here.stop_all()


def whole(folder: Path, name: str) -> bytes:
    segments = sorted(folder.glob(f"{name}.[0-9]*"))
    assert len(segments) > 3
    return b"".join(path.read_bytes() for path in [*segments, folder / name] if path.exists())


def read_whole(channel: ProcessChannel, here: Here, job: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for header, data in frames(channel, {"workspace": str(here.workspace), "job": job, "files": {"log": 0}}):
        if data:
            assert header["offset"] == len(files.get(header["file"], b""))
            files[header["file"]] = files.get(header["file"], b"") + data
    channel.close()
    return files
