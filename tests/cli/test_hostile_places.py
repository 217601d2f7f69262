"""What is no file is not waited for, what a terminal would obey is shown, a home of nobody is a name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.hostile.hostile_files import put

from remote.jobs.foreground import create
from t2v_core.checkpoints.old_names import wrong_with
from t2v_core.disk.files import read_json
from t2v_core.disk.opening import read_bytes
from t2v_core.disk.plain_text import LONGEST_LINE, for_terminal, in_short
from t2v_core.disk.plain_toml import read_toml
from t2v_core.errors import EngineError, InvalidRequest
from t2v_core.specs import make_spec
from t2v_core.workspace import Workspace, expanded, followed

NO_FILES = ("a FIFO", "a socket", "a folder", "a link to a device", "a link to itself", "a file of a terabyte")


@pytest.mark.parametrize("form", NO_FILES)
@pytest.mark.parametrize("read", [read_bytes, read_json])
def test_what_is_no_file_of_notes_is_refused_at_once(form: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    put(form, tmp_path / "x")
    with pytest.raises(OSError, match="x"):
        read(tmp_path / "x")


@pytest.mark.parametrize("form", [*NO_FILES, "half a UTF-8 sign", "a NUL", "a line of 5,000 digits", "JSON: deep"])
def test_settings_that_cannot_be_read_name_the_file(form: str, tmp_path: Path) -> None:
    put(form, tmp_path / "t2v.toml")
    with pytest.raises(InvalidRequest, match=r"t2v\.toml"):
        read_toml(tmp_path / "t2v.toml")


def test_json_that_is_nested_too_deeply_is_no_json(tmp_path: Path) -> None:
    put("JSON: deep", tmp_path / "x")
    with pytest.raises(ValueError, match="nested"):
        read_json(tmp_path / "x")


@pytest.mark.parametrize("form", ["a FIFO", "a zip", "an empty file", "a folder"])
def test_a_checkpoint_of_the_previous_system_that_is_none(form: str, tmp_path: Path) -> None:
    put(form, tmp_path / "x.pt")
    assert wrong_with(tmp_path / "x.pt")


@pytest.mark.parametrize("form", ["a dangling link", "a link to itself", "an empty file", "a FIFO"])
def test_a_job_that_has_no_place_is_refused(form: str, tmp_path: Path) -> None:
    put(form, tmp_path / "jobs")
    with pytest.raises(EngineError, match="jobs"):
        create(Workspace(tmp_path), "shapes", make_spec("shapes", {}))


def test_a_home_of_nobody_is_a_name_as_a_shell_has_it(tmp_path: Path) -> None:
    assert expanded(Path("~nobody-is-called-that/x")) == Path("~nobody-is-called-that/x")
    assert expanded(Path("~/x")) == Path(os.environ["HOME"]) / "x"
    put("a link to itself", tmp_path / "x")
    assert followed(tmp_path / "x") == tmp_path / "x"


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert for_terminal("a\x1b[2Jb\r\u202ec\x9b") == r"a\x1b[2Jb\r\u202ec\x9b"
    assert for_terminal("two\nlines\tand 👩‍👧 “é”") == "two\nlines\tand 👩‍👧 “é”"
    assert for_terminal("caf\udce9") == r"caf\xe9"


def test_of_a_long_line_both_ends_are_said() -> None:
    said = in_short("begin " + "x" * 10_000 + " end\nshort")
    assert said.startswith("begin xxx")
    assert "xxx end (10,010 characters)\nshort" in said
    assert len(said) < LONGEST_LINE + 50


def test_a_nul_in_a_path_of_the_settings_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"data = 'a.x00b' holds a NUL"):
        make_spec("train", {"data": "a\0b"})
