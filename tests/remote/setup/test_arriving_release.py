"""What arrives on a host: a release whole or not at all, packages that are complete, a release by its name."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from support.hosts.agent_here import agent, wait_until
from support.hosts.small_release import ROOT

from remote.setup.install_on_host import half_installed
from remote.setup.release import current_release, requirements_of


def test_a_damaged_upload_is_never_unpacked(tmp_path: Path) -> None:
    sha256 = "0" * 64
    with agent() as one:
        one.call("put", workspace=str(tmp_path), sha256=sha256, data="AAAA")
        with pytest.raises(Exception, match="arrived damaged"):
            one.call("unpack_release", workspace=str(tmp_path), sha256=sha256, release="abcdef0123456789")
        assert one.call("put", workspace=str(tmp_path), sha256=sha256)["size_bytes"] == 0
    assert not list(tmp_path.glob(".t2v/releases/*"))


def test_packages_that_lack_a_file_are_installed_again(tmp_path: Path) -> None:
    for name, record in (("whole", "whole.py,,4\n"), ("torn", "torn.py,,400\n"), ("cut", None)):
        (tmp_path / f"{name}.py").write_text("a=1\n")
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        if record is not None:
            (info / "RECORD").write_text(record)
    assert sorted(info.name for info in half_installed(tmp_path)) == ["cut-1.dist-info", "torn-1.dist-info"]


def test_what_the_engine_needs_is_asked_for_and_pinned() -> None:
    needed = current_release(ROOT)
    names = {re.split(r"[<>=\[ ]", line)[0].lower() for line in needed.requirements}
    pinned = {line.split("==")[0].lower() for line in needed.constraints.splitlines() if "==" in line}
    assert {"torch", "diffusers", "pydantic"} <= names <= pinned
    lines = ["pydantic>=2", "torch>=2; extra == 'engine'", "mypy; extra == 'dev'", 'tomli; python_version < "3.11"']
    assert requirements_of(lines, None) == ["pydantic>=2", 'tomli; python_version < "3.11"']
    assert requirements_of(lines, "engine") == ["torch>=2"]
    assert requirements_of(lines, "web") == []


def test_a_job_that_names_a_release_gets_it_or_hears_that_it_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / ".t2v/releases/abcdef0123456789"
    folder.mkdir(parents=True)
    (folder / "brought.py").write_text("print('from the release')\n")
    argv = [sys.executable, "-m", "brought"]
    with agent() as one:
        with pytest.raises(Exception, match="release 0123456789abcdef is not on this host"):
            one.call("start", workspace=str(tmp_path), verb="test", key="a", argv=argv, release="0123456789abcdef")
        job = one.call("start", workspace=str(tmp_path), verb="test", key="a", argv=argv, release="abcdef0123456789")[
            "job"
        ]
        wait_until((tmp_path / "jobs" / job / "exit.json").exists)
    assert (tmp_path / "jobs" / job / "log").read_text() == "from the release\n"
