"""`t2v runs`: the trainings of a workspace as a table, their difference, their charts as files, their names."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from support.engine.ended_jobs import add_ended, of_training

from t2v_tui.cli.main import main

T = 1_790_000_000.0


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    (root / "t2v.toml").touch()
    add_ended(root, "train", T, of_training(2000), number=0xAAAA, preset="tiny")
    add_ended(root, "train", T + 1000, of_training(1000), number=0xBBBB, preset="tiny", learning_rate=1e-3)
    add_ended(root, "generate", T + 2000, [], prompt="a dog")
    return root


@pytest.fixture(autouse=True)
def _inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    monkeypatch.delenv("T2V_WORKSPACE", raising=False)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_trainings_are_listed_alone_sorted_and_filtered(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "runs", "--sort", "held-out")
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 3)
    assert lines[0].split()[:4] == ["job", "state", "name", "preset"]
    assert "aaaa" in lines[1]
    _, out, err = said(capsys, "runs", "--filter", "base")
    assert (out, err) == ("", "no training has 'base'\n")


def test_json_has_numbers_and_nulls(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(said(capsys, "runs", "--json")[1])
    assert [row["job"][-4:] for row in rows] == ["bbbb", "aaaa"]
    assert (rows[1]["step"], rows[1]["usd"], rows[1]["seconds"], rows[1]["host"]) == (2000, None, 60.0, "local")
    assert rows[1]["held_out"] < rows[0]["held_out"]


def test_a_difference_names_only_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    both = json.loads(said(capsys, "runs", "diff", "aaaa", "bbbb", "--json")[1])
    assert [list(values.values()) for values in both["settings"].values()] == [[0.002, 0.001]]
    assert list(both["settings"]) == ["learning_rate"]
    _, out, _ = said(capsys, "runs", "diff", "aaaa", "bbbb")
    assert "learning rate" in out
    assert "batch size" not in out


def test_a_chart_is_an_svg_a_png_or_a_csv(capsys: pytest.CaptureFixture[str], workspace: Path) -> None:
    for name in ("loss.svg", "loss.png", "loss.csv"):
        assert said(capsys, "runs", "chart", "aaaa", "bbbb", "--to", name, "--smooth", "0")[:2] == (0, f"{name}\n")
    assert (workspace / "loss.svg").read_text().count("<polyline") > 4
    assert (workspace / "loss.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.reader((workspace / "loss.csv").open()))
    assert rows[0] == ["run", "step", "loss", "lowest", "highest"]
    assert len(rows) == 1 + 2000 + 1000


def test_a_run_has_a_name_by_which_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "runs", "name", "bbbb", "faster")[0] == 0
    assert said(capsys, "runs", "note", "faster", "learns quickly")[0] == 0
    row = next(row for row in json.loads(said(capsys, "runs", "--json")[1]) if row["job"].endswith("bbbb"))
    assert (row["name"], row["note"]) == ("faster", "learns quickly")
    assert said(capsys, "runs", "name", "faster", "")[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["diff", "aaaa"], "at least two trainings"),
        (["diff", "aaaa", "train"], "'train' matches 2 trainings"),
        (["diff", "aaaa", "cccc"], "there is no training 'cccc'"),
        (["chart", "aaaa", "--to", "loss.txt"], "loss.txt is not a chart that can be written"),
        (["chart", "aaaa", "--to", "a.svg", "--figure", "los"], "has no 'los'"),
        (["chart", "aaaa", "--to", "a.svg", "--over", "dollars"], "there is no loss over dollars to draw"),
        (["name", "aaaa", "x" * 41], "at most 40 characters"),
        (["--sort", "height"], "there is no column 'height'"),
    ],
)
def test_a_wrong_request_is_one_sentence(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    code, out, err = said(capsys, "runs", *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 2


def test_names_that_cannot_be_read_are_not_taken_for_names_that_nobody_gave(
    capsys: pytest.CaptureFixture[str], workspace: Path
) -> None:
    kept = workspace / ".t2v"
    shutil.rmtree(kept, ignore_errors=True)
    kept.touch()
    code, _, err = said(capsys, "runs", "diff", "aaaa", "baseline")
    kept.unlink()
    assert code == 2
    assert "no training 'baseline' among those whose names can be read (.t2v/runs/" in err
    assert "cannot be read: Not a directory)" in err
