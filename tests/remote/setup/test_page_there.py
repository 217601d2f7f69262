"""The page's packages on a host: installed into t2v's own environment by the first page that runs there, and only then.

Real: a virtual environment, pip's install out of a folder, the job's events. What stands in: a small package takes the
names of Gradio and its company, and the page that takes over prints its flags.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.hosts.laid_pip import make_venv_with_pip
from support.hosts.small_release import ROOT, only_packages_of, write_package

from remote.setup.page_on_host import NEEDED


@dataclass
class There:
    """A workspace on a host in which a page is a job."""

    workspace: Path

    def run(self, *flags: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        env = kept | {"T2V_JOB": "page", "PYTHONPATH": str(self.workspace / "release"), "HOME": str(self.workspace)}
        python = self.workspace / ".t2v/venv/bin/python"
        return subprocess.run(
            [python, "-m", "remote.setup.page_on_host", *flags], cwd=self.workspace, env=env,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def events(self) -> list[dict[str, object]]:
        path = self.workspace / "jobs/page/events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def there(tmp_path: Path) -> There:
    release, job = tmp_path / "release", tmp_path / "jobs/page"
    job.mkdir(parents=True)
    (job / "spec.json").write_text("{}")
    (release / "remote/setup").mkdir(parents=True)
    for name in ("__init__.py", "setup/__init__.py", "setup/page_on_host.py", "setup/install_on_host.py"):
        shutil.copy(ROOT / "remote" / name, release / "remote" / name)
    (release / "t2v_tui/cli").mkdir(parents=True)
    (release / "t2v_tui/cli/main.py").write_text("import gradio, sys\nprint('page', *sys.argv[1:])\n")
    (release / "requirements-web.txt").write_text("small-thing\n")
    (release / "constraints.txt").write_text("small-thing==1.0\n")
    only_packages_of(tmp_path / "packages", tmp_path)
    make_venv_with_pip(tmp_path / ".t2v/venv")
    return There(tmp_path)


def test_the_first_page_installs_what_it_needs_and_the_second_finds_it(there: There) -> None:
    write_package(there.workspace / "packages", **{f"{name}_py": "" for name in NEEDED})
    first = there.run("--port", "0")
    assert (first.returncode, first.stdout.splitlines()[-1]) == (0, "page web --port 0"), first.stderr
    assert [event["name"] for event in there.events()] == ["packages of the page"]
    second = there.run("--port", "0")
    assert second.stdout == "page web --port 0\n"
    assert len(there.events()) == 1


def test_a_page_that_cannot_have_its_packages_says_why_and_does_not_begin(there: There) -> None:
    (there.workspace / "packages").mkdir()
    done = there.run()
    assert done.returncode == 1
    assert "page web" not in done.stdout
    error = there.events()[-1]
    assert str(error["message"]).startswith("pip cannot install what the page needs: ")
    assert "small-thing" in str(error["message"])
    assert "package index cannot be reached" in str(error["hint"])
