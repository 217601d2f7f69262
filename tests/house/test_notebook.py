"""The notebook runs from its first cell to its last, with less work than it asks for.

Its lines that begin with `!` are commands, in which `{name}` is a value of its own, as IPython has it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from support.engine.forked_command import ROOT, ran

NOTEBOOK = ROOT / "docs/from-prompt-to-lora.ipynb"
LESS = {"clips": 3, "known": 5, "steps": 3, "passes": 1, "prompts": 2}


def run_cell(source: str, values: dict[str, Any], folder: Path) -> str:
    """Run one cell; returns what its commands said on stdout."""
    lines = source.replace("\\\n", "").splitlines()
    commands = [line[1:] for line in lines if line.startswith("!")]
    exec("\n".join("" if line.startswith("!") else line for line in lines), values)  # noqa: S102 - our own notebook
    said = ""
    for command in commands:
        words = shlex.split(command.format_map(values))
        ended = ran(words[1:], folder, dict(os.environ))
        assert (words[0], ended.returncode) == ("t2v", 0), ended.stderr
        said += ended.stdout
    return said


def test_the_notebook_goes_from_a_prompt_to_a_lora(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    values: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            run_cell("".join(cell["source"]), values, tmp_path)
            if "parameters" in cell["metadata"].get("tags", ()):
                assert values.keys() >= LESS.keys()
                values |= LESS
    pictures = {name: (tmp_path / f"{name}.gif").read_bytes() for name in ("known", "before", "after", "still")}
    assert pictures["after"] != pictures["before"]
    info = json.loads((tmp_path / "after.json").read_text())
    assert "checkpoints" in info["checkpoint"]["path"]
    assert "motion_obeyed_seen" in capsys.readouterr().out


def test_every_picture_of_it_is_one_that_it_makes() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    text = "".join(line for cell in cells for line in cell["source"])
    shown = re.findall(r"\]\((\w+\.gif)\)", text)
    assert len(shown) == 4
    assert sorted(shown) == sorted(re.findall(r"-o (\S+)", text))
    assert not any(cell.get("outputs") for cell in cells)
