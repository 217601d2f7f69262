"""Runs on a host as the job `bootstrap`, out of a release: makes the venv and installs what the engine needs.

Standard library only: nothing is installed yet. The working folder is the workspace; the job's spec.json says what is
wanted. Whatever an interrupted run left behind is completed or made anew, never taken for whole.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

RELEASE = Path(__file__).resolve().parents[2]
INSTALLED = "t2v-installed.json"
# In an environment from when it was made, before anything is installed: nothing else is ever cleared or written into.
MADE = "t2v-made.json"
INTERRUPTED = 130


class NotInstalled(Exception):
    """A sentence and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Install:
    """One run. workspace: the host's; spec: {"requirements_sha256"}"""

    def __init__(self, workspace: Path, job: Path, spec: dict[str, Any]) -> None:
        self.workspace, self.job, self.spec = workspace, job, spec
        self.venv, self.begun = workspace / ".t2v/venv", workspace / ".t2v/making-venv"
        self.python = self.venv / "bin/python"

    def run(self) -> None:
        """Install everything that is missing, one run at a time. Raises NotInstalled."""
        with self.alone():
            self.say("stage", name="venv")
            self.let_go_of_earlier()
            if not self.is_venv_sound():
                self.make_venv()
            self.say("stage", name="dependencies")
            self.install()

    def add_page(self) -> None:
        """Install what the page of `t2v web` needs besides, unless it has come since this was asked."""
        with self.alone():
            self.say("stage", name="packages of the page")
            self.pip("requirements-web.txt", "pip cannot install what the page needs")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other run installs here, and keep others out meanwhile."""
        with (self.workspace / ".t2v/bootstrap.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def let_go_of_earlier(self) -> None:
        """Drop the link to the environment that an earlier version made in `venv/`.

        It was used as it was, and is not changed.
        """
        if self.venv.is_symlink() and self.venv.readlink() == Path("../venv"):
            print(f"{self.workspace / 'venv'} stays as it is; another one is made in {self.venv}", flush=True)
            self.venv.unlink()

    def is_ours(self) -> bool:
        """Tell whether t2v made the environment, or has begun to."""
        return not self.venv.is_symlink() and (self.begun.exists() or (self.venv / MADE).is_file())

    def is_venv_sound(self) -> bool:
        """Tell whether it runs as the Python that it was made by, and pip works in it."""
        if self.begun.exists() or not self.is_ours() or not self.python.exists():
            return False
        code = "import sys, pip; print('.'.join(map(str, sys.version_info[:2])))"
        done = subprocess.run([self.python, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode == 0 and tuple(map(int, done.stdout.split("."))) >= (3, 11)

    def make_venv(self) -> None:
        """Make it anew; but never over what t2v did not make. Raises NotInstalled."""
        if os.path.lexists(self.venv) and not self.is_ours():
            raise NotInstalled(f"{self.venv} is there and was not made by t2v", "move it away")
        self.begun.touch()
        self.tell([sys.executable, "-m", "venv", "--clear", str(self.venv)], "the virtual environment cannot be made")
        write_whole(self.venv / MADE, json.dumps({"python": sys.version.split()[0]}) + "\n")
        self.reach_disk()
        self.begun.unlink()

    def install(self) -> None:
        """Run pip with the host's own settings: its mirror, its proxy, its cache. Raises NotInstalled."""
        for site in self.venv.glob("lib/python*/site-packages"):
            for broken in half_installed(site):
                print(f"{broken.name} is incomplete and is installed again", flush=True)
                shutil.rmtree(broken)
        self.pip("requirements.txt", "pip cannot install what the engine needs")
        whole = {"requirements_sha256": self.spec["requirements_sha256"], "python": sys.version.split()[0]}
        whole |= {"by": self.spec["by"]} if self.spec.get("by") else {}
        write_whole(self.venv / INSTALLED, json.dumps(whole) + "\n")

    def pip(self, requirements: str, failure: str) -> None:
        """Install the release's list of that name, with its pins. Raises NotInstalled, which begins with `failure`."""
        argv = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        self.tell([*argv, "-r", str(RELEASE / requirements), "-c", str(RELEASE / "constraints.txt")], failure)
        self.reach_disk()

    def reach_disk(self) -> None:
        """Sync the environment before anything says that it is whole.

        pip syncs nothing, and a power cut leaves its files empty.
        """
        self.tell(["sync", "-f", str(self.venv)], "what was installed cannot be written to the disk")

    def tell(self, argv: Sequence[str], failure: str) -> None:
        """Run a program with its output in the log. Raises NotInstalled with the line that says why."""
        print("$", " ".join(argv), flush=True)
        why = ""
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        assert child.stdout is not None
        try:
            for line in child.stdout:
                print(line, end="", flush=True)
                if line.strip() and not why.startswith("ERROR: "):  # the first of pip's names the package
                    why = line.strip()
        except KeyboardInterrupt:
            child.terminate()
            child.wait()
            raise
        if child.wait() != 0:
            raise NotInstalled(f"{failure}: {why.removeprefix('ERROR: ')}", hint_for(why))

    def say(self, kind: str, **fields: Any) -> None:
        """Append an event to the job's."""
        with (self.job / "events.jsonl").open("a") as events:
            events.write(json.dumps({"t": time.time(), "kind": kind, **fields}) + "\n")


def half_installed(site: Path) -> list[Path]:
    """Return the metadata of packages of which something is missing: pip would take them for installed.

    pip writes a package's RECORD last; a file that was never synced is empty after a power cut.
    """
    return [info for info in site.glob("*.dist-info") if not is_whole(info)]


def is_whole(info: Path) -> bool:
    """Tell whether every file of a package is there with the size that its RECORD names."""
    try:
        with (info / "RECORD").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        return all((info.parent / path).stat().st_size == int(size) for path, _, size in rows if size)
    except (OSError, ValueError):
        return False


def hint_for(why: str) -> str:
    """Say what to do about pip's commonest complaints."""
    if "No space left" in why:
        return "free some space there and run it again"
    if any(words in why for words in ("No matching distribution", "Could not find a version", "Cannot install")):
        return "its Python may be too new or too old for that package, or its package index cannot be reached"
    if "ensurepip" in why:
        return "sudo apt install python3-venv"
    return "the job's log has all of it; run it again once that is fixed"


def write_whole(path: Path, content: str) -> None:
    """Write a file so that it is there with all its content, or not at all, after a power cut as well."""
    partial = path.with_name(f".partial-{path.name}")
    with partial.open("w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def told(work: Callable[[Install], None]) -> int:
    """Do it for the job that this is; why it failed stands in its events. Returns an exit code."""
    workspace = Path.cwd()
    job = workspace / "jobs" / os.environ["T2V_JOB"]
    install = Install(workspace, job, json.loads((job / "spec.json").read_text()))
    try:
        work(install)
    except NotInstalled as problem:
        install.say("error", message=problem.message, hint=problem.hint, exit_code=1)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        with suppress(OSError):  # of a full disk even this may be said in vain; the log has its traceback's last line
            install.say("error", message=f"{where}{error.strerror}", hint=hint_for(str(error)), exit_code=1)
        print(f"{where}{error.strerror}", flush=True)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(told(Install.run))
