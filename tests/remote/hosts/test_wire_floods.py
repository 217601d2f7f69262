"""What never ends is refused with a sentence, in seconds, and takes little memory: 10 GB of greeting as well as 100 MB.

Here each flood is a hundredth of that or so, which is more than any bound; all of it is sent by
`python tests/support/hostile/wire_floods.py NAME 10`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from remote.errors import HostKeyRefused, HostUnreachable
from remote.hosts import ssh_channel
from remote.hosts.known_hosts import KnownHosts

MOST_BYTES = 100_000_000
FLOODS = Path(__file__).parents[2] / "support/hostile/wire_floods.py"


def flood(name: str, gigabytes: float) -> dict[str, object]:
    paths = os.pathsep.join([str(FLOODS.parents[3]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, FLOODS, name, str(gigabytes)], env={**os.environ, "PYTHONPATH": paths}, capture_output=True,
        text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("name", "gigabytes", "sentence"),
    [
        ("greeting of a child", 10, "does not start on local; it said: xxx"),
        ("greeting over SSH", 10, "bytes before it runs a command"),
        ("banner", 10, "no SSH banner"),
        ("one line", 1, "without an end of line"),
        ("settings", 0.1, "100 MB are too much for it"),
        ("table", 0.1, "100 MB are too much for it"),
    ],
)
def test_a_flood_is_refused(name: str, gigabytes: float, sentence: str) -> None:
    said = flood(name, gigabytes)
    assert sentence in str(said["error"])
    assert int(str(said["peak"])) < MOST_BYTES, said


@pytest.mark.parametrize(
    ("name", "gigabytes", "value"),
    [
        ("manifest", 0.3, "('manifest.json cannot be read', 'it is not complete: manifest.json cannot be read')"),
        ("events", 0.1, "0"),
        ("journal", 0.003, "[(1, 2), (3, 4)]"),
        ("came", 0.004, "1"),
    ],
)
def test_a_file_without_end_is_read_within_bounds(name: str, gigabytes: float, value: str) -> None:
    said = flood(name, gigabytes)
    assert said["error"] == ""
    assert value in str(said["said"])
    assert int(str(said["peak"])) < MOST_BYTES, said


class Flooded:
    """A channel of which stderr never ends, and on which stdout says nothing."""

    def settimeout(self, _seconds: float) -> None:
        """It never waits."""

    def exec_command(self, _line: str) -> None:
        """Whatever it is."""

    def recv(self, _size: int) -> bytes:
        raise TimeoutError

    def recv_stderr_ready(self) -> bool:
        return True

    def recv_stderr(self, size: int) -> bytes:
        return b"x" * size

    def close(self) -> None:
        """Nothing is held."""


def test_a_host_that_only_complains_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_channel, "START_TIMEOUT_S", 0.3)
    channel: Any = Flooded()
    with pytest.raises(HostUnreachable, match="does not start the agent"):
        ssh_channel.SSHChannel(Mock(), channel).started("line")


def test_a_pipe_in_the_place_of_known_hosts_is_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "known_hosts")
    with pytest.raises(HostKeyRefused, match="it is not a regular file"):
        KnownHosts(tmp_path / "known_hosts").pinned("host")
