"""How the agent gets onto a bare host when many conversations begin there at one moment, as screens open them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from remote.agent.base.bundle import bundle
from remote.hosts.agent_upload import NEED, agent_sha256, agent_source, command, upload

MANY = 8


@contextmanager
def conversations(home: Path, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """As sshd would start them there."""
    with ExitStack() as stack:
        started = []
        for _ in range(count):
            child = subprocess.Popen(
                ["sh", "-c", command(["serve"])], env={**os.environ, "HOME": str(home)},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            stack.callback(child.communicate)
            stack.callback(child.kill)
            started.append(child)
        yield started


def first_line(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout is not None
    return child.stdout.readline()


def send(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.write(upload())
    child.stdin.flush()


def folder_in(home: Path) -> Path:
    return home / f".cache/t2v/agent-{agent_sha256()}"


@pytest.mark.parametrize("is_damaged", [False, True], ids=["bare", "damaged"])
def test_all_of_many_that_bring_the_agent_at_once_get_to_run_it(tmp_path: Path, *, is_damaged: bool) -> None:
    """One that is importing must not find it taken away by the next one that has it."""
    folder = folder_in(tmp_path)
    if is_damaged:
        folder.mkdir(parents=True)
        (folder / "__main__.py").write_text("no Python")
    with conversations(tmp_path, MANY) as children:
        assert [first_line(child) for child in children] == [NEED] * MANY
        for child in children:  # each has looked and found none
            send(child)
        greetings = [first_line(child) for child in children]
        assert all(line.startswith(b'{"agent"') for line in greetings), greetings
    assert bundle(folder) == agent_source()
    assert [path.name for path in folder.parent.glob("agent-*")] == [folder.name]


def test_one_that_is_there_is_left_in_its_place_by_whoever_still_brings_it(tmp_path: Path) -> None:
    with conversations(tmp_path, 2) as (first, late):
        assert [first_line(first), first_line(late)] == [NEED, NEED]
        send(first)
        assert first_line(first).startswith(b'{"agent"')
        there = folder_in(tmp_path).stat().st_ino
        send(late)
        assert first_line(late).startswith(b'{"agent"')
        assert folder_in(tmp_path).stat().st_ino == there
