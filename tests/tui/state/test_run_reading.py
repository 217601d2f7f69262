"""What is read of trainings: every figure, thinned without losing its peaks, as files grow, tear and shrink."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from support.engine.ended_jobs import add_ended, of_training
from support.files_read import files_opened

from remote.cost.ledger import Session
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace
from t2v_tui.library.runs.board import Scored, scores_by_run
from t2v_tui.library.runs.labels import Label, keep_label, label_of
from t2v_tui.library.runs.measured import Measured, RunReader
from t2v_tui.library.runs.settings import differing, with_defaults
from t2v_tui.library.runs.thinned import Line, Thinned
from t2v_tui.library.runs.traces import Axis, trace_of, value_at, xs_of
from t2v_tui.store.runs import SORTS, RunRow, fits, in_order
from t2v_tui.store.state import JobKey
from t2v_tui.text.runs.run_comparison import comparison, table_lines
from t2v_tui.text.runs.run_table import columns_for
from t2v_tui.widgets.curve.series import Averaged
from t2v_tui.workers.run_reading import RunsReading

T = 1_790_000_000.0


def line_of(values: list[float], most: int = 4096) -> tuple[Thinned, Line]:
    table = Thinned(most)
    steps = [float(step) for step in range(1, len(values) + 1)]
    table.extend(steps, [T + step for step in steps], {"loss": values})
    line = table.line("loss")
    assert line is not None
    return table, line


def write(file: Path, events: list[dict[str, Any]]) -> None:
    with file.open("a") as out:
        out.writelines(json.dumps(event) + "\n" for event in events)


def read(file: Path) -> Measured:
    reader = RunReader(file)
    while reader.read(1000):
        pass
    return reader.measured()


def test_a_long_table_keeps_its_size_and_every_peak() -> None:
    chance = random.Random(3)
    values = [chance.gauss(1, 0.1) for _ in range(50_000)]
    values[31_234] = 9.0
    table, line = line_of(values, most=512)
    assert 256 <= len(table) <= 512
    assert max(line.highs) == 9.0
    assert min(line.lows) == min(values)
    assert sum(line.counts) == len(values)
    assert math.isclose(sum(line.sums), sum(values))
    assert line.steps[-1] == len(values)


def test_what_was_told_stays_as_it_was_when_more_comes() -> None:
    table = Thinned(64)
    table.extend(range(1, 50), range(1, 50), {"loss": [float(step) for step in range(1, 50)]})
    told = table.line("loss")
    assert told is not None
    before = [list(part) for part in (told.steps, told.times, told.lows, told.highs, told.sums, told.counts)]
    table.extend(range(30, 500), range(30, 500), {"loss": [0.0] * 470, "grad_norm": [1.0] * 470})
    assert [list(part) for part in (told.steps, told.times, told.lows, told.highs, told.sums, told.counts)] == before


def test_what_comes_piece_by_piece_is_what_comes_at_once() -> None:
    values = [math.sin(step / 50) for step in range(3000)]
    at_once, _ = line_of(values, most=256)
    piecewise, begin = Thinned(256), 0
    for size in [1, 2, 700, 3, 1, 293, 2000]:
        part = range(begin, begin + size)
        piecewise.extend([n + 1.0 for n in part], [T + n + 1 for n in part], {"loss": [values[n] for n in part]})
        begin += size
    assert piecewise.lines() == at_once.lines()


def test_a_step_that_is_said_again_takes_the_place_of_what_followed() -> None:
    table, _ = line_of([5.0] * 10)
    table.extend([4.0, 5.0], [T + 40, T + 50], {"loss": [1.0, 2.0]})
    line = table.line("loss")
    assert line is not None
    assert list(line.steps) == [1, 2, 3, 4, 5]
    assert list(line.sums) == [5, 5, 5, 1, 2]


def test_events_are_read_as_they_grow_and_again_when_the_file_is_another(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    step = {"t": T, "kind": "step", "step": 1, "total": 9, "epoch": 1, "loss": 0.5, "learning_rate": 1e-4, "odd": 3}
    write(file, [step])
    reader = RunReader(file)
    assert reader.read()
    assert not reader.read()
    with file.open("a") as out:
        out.write('{"t":1790000001,"kind":"step","step":2,"loss"')
    reader.read()
    assert reader.measured().step == 1
    with file.open("a") as out:
        out.write(':0.25}\n{"t":1790000002,"kind":"score","name":"held_out_loss","value":0.3,"step":2}\n')
    reader.read()
    known = reader.measured()
    assert (known.step, known.total, known.newest["loss"], known.lowest["held_out_loss"]) == (2, 9, 0.25, (2.0, 0.3))
    assert set(known.lines) == {"loss", "learning_rate", "odd", "held_out_loss"}
    file.unlink()
    write(file, [step | {"loss": 7.0}])
    reader.read()
    assert reader.measured().newest["loss"] == 7.0
    assert "held_out_loss" not in reader.measured().lines


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[" * 100_000, b"null", b'{"t":"x","kind":"step","step":1}', b'{"t":1,"kind":"step","step":"x"}',
     b'{"t":1e99,"kind":"step","step":1,"loss":1}', b"\xff\xfe", b'{"t":1,"kind":"score","name":[],"value":1,"step":1}',
     b'{"t":1,"kind":"step","step":NaN}', b"1" * 5000, b'{"t":1,"kind":"checkpoint","path":7}'],
)  # fmt: skip
def test_a_line_that_is_none_of_ours_costs_itself_alone(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "events.jsonl"
    write(file, [{"t": T, "kind": "step", "step": 1, "loss": 0.5}])
    with file.open("ab") as out:
        out.write(line + b"\n")
    write(file, [{"t": T + 1, "kind": "step", "step": 2, "loss": 0.25, "grad_norm": "x"}])
    known = read(file)
    assert (known.step, known.newest["loss"]) == (2, 0.25)
    assert "grad_norm" not in known.lines


def test_values_that_are_no_number_leave_a_gap_and_no_nan(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    steps = [{"t": T + n, "kind": "step", "step": n + 1, "loss": [0.5, "nan", 0.3][n]} for n in range(3)]
    write(file, steps)
    line = read(file).lines["loss"]
    assert list(trace_of(line, line.steps, None, 100, 0.0).ys) == [0.5, 0.3]


def test_an_average_is_that_of_the_curve_on_train() -> None:
    chance = random.Random(5)
    values = [chance.gauss(1, 0.2) for _ in range(2000)]
    _, line = line_of(values)
    other = Averaged(0.98)
    other.extend((float(n), value) for n, value in enumerate(values))
    ours = trace_of(line, line.steps, None, 4000, 0.98).ys
    assert ours == pytest.approx(list(other.average.ys))


def test_a_trace_has_no_more_points_than_dots_and_a_window_of_it_no_other_values() -> None:
    values = [math.exp(-step / 900) for step in range(4000)]
    _, line = line_of(values)
    whole = trace_of(line, line.steps, None, 300, 0.98)
    assert len(whole.xs) <= 300
    part = trace_of(line, line.steps, (2000.0, 2400.0), 4000, 0.98)
    every = trace_of(line, line.steps, None, 4000, 0.98)
    at = list(every.xs).index(part.xs[0])
    assert part.ys == pytest.approx(every.ys[at : at + len(part.ys)], rel=2e-3)
    assert (part.xs[0], part.xs[-1]) == (1999, 2401)


def test_ten_points_are_not_averaged_away() -> None:
    _, line = line_of([float(n) for n in range(10)])
    trace = trace_of(line, line.steps, None, 100, 0.999)
    assert list(trace.ys) == [float(n) for n in range(10)]
    assert (value_at(trace, 3.5), value_at(trace, None), value_at(trace, 0.5), value_at(trace, 11.0)) == (
        2,
        9,
        None,
        None,
    )


def test_axes_are_steps_epochs_hours_and_what_the_machine_cost(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    write(
        file,
        [{"t": T + 36 * n, "kind": "step", "step": n, "epoch": 1 + (n - 1) // 50, "loss": 1} for n in range(1, 201)],
    )
    known = read(file)
    line = known.lines["loss"]
    session = Session("1", T - 3600, None, usd_per_hour=4.0)
    ends = {axis: xs[-1] for axis in Axis if (xs := xs_of(line, known, axis, [session])) is not None}
    assert ends == {
        "step": 200,
        "epoch": pytest.approx(4),
        "hours": pytest.approx(1.99),
        "dollars": pytest.approx(7.96),
    }
    assert xs_of(line, known, Axis.DOLLARS) is None


def test_only_what_differs_is_told_defaults_and_presets_included() -> None:
    settings = [with_defaults({"preset": "tiny"}), with_defaults({"preset": "tiny", "learning_rate": 1e-3})]
    assert differing(settings) == [("learning_rate", [2e-3, 1e-3])]
    assert with_defaults({"from_another_version": 1}) == {"from_another_version": 1}
    assert differing([{"a": 1}, {"a": 1, "b": None}]) == []


KEYS = [JobKey("local", f"2026112{n}-010101-train-000{n}") for n in range(4)]
ROWS = [
    RunRow(KEYS[0], "succeeded", "base line", preset="tiny", data="data/shapes", loss=0.3, began_t=1),
    RunRow(KEYS[1], "failed", preset="tiny", data="data/msr-vtt", held_out=0.2, began_t=2),
    RunRow(KEYS[2], "running", preset="base", data="data/shapes", held_out=0.1, loss=0.2, score=0.5, began_t=3),
]


def order(sort: str, **how: bool) -> list[int]:
    return [ROWS.index(row) for row in in_order(ROWS, sort, **how)]


def test_runs_are_sorted_with_what_is_not_known_last_either_way() -> None:
    assert order("newest") == [2, 1, 0]
    assert order("held-out") == [2, 1, 0]
    assert order("held-out", is_reversed=True) == [1, 2, 0]
    assert order("loss") == [2, 0, 1]
    assert order("newest", by_data=True) == [1, 2, 0]
    assert all(sorted(order(name)) == [0, 1, 2] for name in SORTS)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("", [0, 1, 2]), ("tiny", [0, 1]), ("tiny -failed", [0]), ("data:msr", [1]), ("LINE", [0]), ("-data:shapes", [1]),
     ("tiny base", [0]), ("host:local preset:base", [2]), ("nothing", [])],
)  # fmt: skip
def test_a_filter_is_words_that_must_all_be_there(wanted: str, found: list[int]) -> None:
    assert [at for at, row in enumerate(ROWS) if fits(row, wanted)] == found


def test_a_name_and_a_note_are_kept_and_a_broken_file_is_none(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert label_of(workspace, KEYS[0]) == Label()
    assert keep_label(workspace, KEYS[0], Label(" my\trun ", "a\nb")) == Label("my run", "a b")
    assert label_of(workspace, KEYS[0]) == Label("my run", "a b")
    with pytest.raises(InvalidRequest, match="at most 40 characters"):
        keep_label(workspace, KEYS[0], Label("x" * 41))
    file = next((tmp_path / ".t2v" / "runs").rglob("*.json"))
    file.write_text("[")
    assert label_of(workspace, KEYS[0]) == Label()
    assert (tmp_path / ".t2v").stat().st_mode & 0o077 == 0


def test_a_score_is_of_the_last_run_that_had_written_that_checkpoint_by_then() -> None:
    path = "checkpoints/checkpoint_epoch_5"
    first, second = Scored(f"/home/me/{path}", "clip_generated", 0.2, 150), Scored(path, "clip_generated", 0.3, 250)
    written = {KEYS[0]: [(5.0, 100.0, path)], KEYS[1]: [(5.0, 200.0, path)], KEYS[2]: [(5.0, 300.0, path)]}
    assert scores_by_run([first, second], written) == {KEYS[0]: [first], KEYS[1]: [second]}
    assert scores_by_run([Scored("checkpoints/mine/checkpoint_epoch_5", "x", 1, 999)], written) == {}


def test_a_comparison_says_how_runs_ended_and_what_differs() -> None:
    lines = table_lines(comparison(ROWS[:2], [("learning_rate", [1e-4, None])], ("loss @ 5", [0.1, None])))
    assert "loss @ 5" in lines[1]
    assert any(line.startswith("learning rate") and "0.0001" in line and line.endswith("–") for line in lines)
    assert not any(line.startswith("score") for line in lines)
    assert "no setting differs" in "\n".join(table_lines(comparison(ROWS[:2], [])))
    assert "their settings are not known" in "\n".join(table_lines(comparison(ROWS[:2], [], unknown=1)))


def test_the_column_of_the_order_is_in_sight_in_the_narrowest_terminal() -> None:
    for sort in SORTS:
        names = [name for name, _ in columns_for(72, sort)]
        assert sort in (*names, "newest")
        assert sum(width + 2 for _, width in columns_for(72, sort)) <= 74


def test_a_training_is_read_as_its_supervisor_leaves_it(tmp_path: Path) -> None:
    job = add_ended(tmp_path, "train", T, of_training(1500), preset="tiny")
    known = read(tmp_path / "jobs" / job / "events.jsonl")
    assert (known.step, len(known.lines["held_out_loss"])) == (1500, 1)


def test_of_runs_that_have_ended_nothing_is_opened_again(tmp_path: Path) -> None:
    workspace, known = Workspace(tmp_path), {}
    jobs = [JobKey("local", add_ended(tmp_path, "train", T + n, of_training(50), preset="tiny")) for n in range(3)]
    keep_label(workspace, jobs[0], Label("baseline"))
    reading = RunsReading(workspace, None, known.update)
    reading.want(jobs)
    reading._read_all()
    assert (known[jobs[0]].label.name, known[jobs[2]].measured.step) == ("baseline", 50)
    reading.look_again()  # at names, settings and scores too
    with files_opened(tmp_path) as opened:
        assert reading._read_all() == (False, False)
    assert opened == []
    with (tmp_path / "jobs" / jobs[2].job / "events.jsonl").open("a") as events:
        events.write('{"t": 1790000100, "kind": "step", "step": 51, "total": 60, "loss": 0.1}\n')
    reading._read_all()
    assert known[jobs[2]].measured.step == 51
