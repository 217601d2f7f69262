"""`make test` sets up what it needs, says beforehand how large it is, and leaves out by name what it cannot have."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import packages
import pytest
from programs import PROGRAMS, find, offered
from support.house.left_behind import processes_of
from support.house.needs import left_out, needs

ROOT = Path(__file__).parents[2]

STRAY = """
import subprocess
def test_leaves_a_process(tmp_path):
    subprocess.run(["sh", "-c", "sleep 600 >&- 2>&- &"], cwd=tmp_path)
"""
FORGOTTEN = """
import tempfile
def test_leaves_a_file():
    tempfile.mkstemp(prefix="forgotten-")
"""


def pytest_on(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one test file with the same conftest as ours, temporary folders in `folder`."""
    (folder / "space").mkdir()
    (folder / "test_it.py").write_text(text)
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'setup'}", "TMPDIR": str(folder / "space")}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "pytest_timeout", "-q", "-c",
         str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p", "no:cacheprovider", str(folder / "test_it.py")],
        cwd=folder, env=env | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


# What cannot be had is left out by name


def test_a_test_whose_program_is_missing_is_left_out_with_the_line_that_mends_it(tmp_path: Path) -> None:
    tests = "def test_a(): needs('tmux')\ndef test_b(): needs('tmux')\ndef test_c(): pass\n"
    text = f"from support.house.needs import needs\n{tests}"
    (tmp_path / "empty").mkdir()
    ended = pytest_on(tmp_path, text, PATH=str(tmp_path / "empty"))
    assert ended.returncode == 0, ended.stdout
    assert "2 tests left out, for want of tmux: sudo apt-get install tmux" in ended.stdout
    assert "1 passed, 2 skipped" in ended.stdout


def test_what_is_there_is_found_and_named() -> None:
    assert Path(needs("git")).name == "git"
    assert left_out(["Skipped: takes long"]) == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_of_the_list_has_a_line_that_mends_its_want(name: str) -> None:
    assert PROGRAMS[name].mend
    assert find(name) is None or Path(str(find(name))).exists()


# Nothing is left behind


@pytest.mark.parametrize(
    ("text", "word"),
    [pytest.param(STRAY, "sleep 600", marks=pytest.mark.slow), (FORGOTTEN, "forgotten-")],
    ids=["process", "file"],
)
def test_a_test_file_that_leaves_something_behind_fails_and_says_what(tmp_path: Path, text: str, word: str) -> None:
    needs("/proc")
    ended = pytest_on(tmp_path, text, T2V_TEST_PATIENCE_S="0.5")
    assert ended.returncode == 1
    assert "left behind by this file's tests" in ended.stdout
    assert word in ended.stdout
    assert processes_of(tmp_path / "space") == {}


def test_whoever_is_in_a_folder_of_a_longer_name_is_not_in_this_one(tmp_path: Path) -> None:
    needs("/proc")
    with subprocess.Popen(
        ["sh", "-c", 'sh -c "echo; read line; :" "$1"', "-", str(tmp_path / "one10/file")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/",
    ) as shell:  # fmt: skip
        assert shell.stdout is not None
        shell.stdout.readline()
        assert (len(processes_of(tmp_path / "one10")), processes_of(tmp_path / "one1")) == (1, {})
        shell.communicate()


def test_when_all_have_passed_no_temporary_folder_is_left(tmp_path: Path) -> None:
    text = "def test_a(tmp_path): (tmp_path / 'big').write_bytes(bytes(10_000))\n"
    assert pytest_on(tmp_path, text).returncode == 0
    assert [path for path in (tmp_path / "space").rglob("*") if path.is_file()] == []


# What is fetched is said before


@pytest.mark.parametrize(
    ("torch", "gpu", "linux", "words"),
    [
        (None, False, True, []),
        ("2.13.0+cpu", False, True, ["333 MB"]),
        ("2.13.0", True, True, ["2.9 GB"]),
        ("2.13.0", False, True, ["2.9 GB", "PIP_EXTRA_INDEX_URL"]),
        ("2.13.0+cpu", True, True, ["333 MB", "without CUDA"]),
        ("2.13.0", False, False, ["333 MB"]),  # a Mac's has no CUDA
    ],
)
def test_how_much_comes_is_said_and_what_saves_the_gigabytes(
    torch: str | None, gpu: bool, linux: bool, words: list[str]
) -> None:
    said = packages.sentences(torch, gpu=gpu, linux=linux)
    assert len(said) == len(words)
    assert all(word in sentence for word, sentence in zip(words, said, strict=True))


def as_nobody(path: Path) -> subprocess.CompletedProcess[str]:
    """The set-up of a user who may install nothing."""
    return subprocess.run(
        ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-"],
        input=(ROOT / "setup/programs.py").read_text(), env={"PATH": str(path)}, cwd="/", capture_output=True,
        text=True, timeout=240, check=False,
    )  # fmt: skip


def test_a_user_who_may_not_install_reads_what_is_missing_and_it_is_no_error() -> None:
    needs("root")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        without_apt = as_nobody(Path(folder))
        (Path(folder) / "apt-get").symlink_to("/bin/true")  # which is looked for, and not run
        with_apt = as_nobody(Path(folder))
    assert without_apt.returncode == with_apt.returncode == 0
    assert re.fullmatch(r"missing here: what Debian calls .*git, .*; this system has no apt: .*\n", without_apt.stderr)
    assert re.fullmatch(
        r"missing here: .*; this user may not install them: sudo apt-get install .*git .*\n", with_apt.stderr
    )


@pytest.mark.skipif(shutil.which("apt-cache") is None, reason="no apt here")
def test_one_package_that_a_distribution_lacks_does_not_keep_the_others_away() -> None:
    assert offered(["coreutils", "no-such-package"]) == ["coreutils"]
