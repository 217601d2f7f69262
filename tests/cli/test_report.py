"""`t2v report`: what is in the file, what is not, and that nothing in it does anything."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.engine.ended_jobs import add_ended, lines_of, of_training
from support.screen.reported_runs import T, add_run, add_sample

from remote.jobs.spool import Spool
from remote.replies.job_row import JobRow
from t2v_core.disk.files import write_json
from t2v_core.workspace import Workspace
from t2v_tui.cli.main import main
from t2v_tui.report.samples import spread


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "t2v.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("T2V_WORKSPACE", raising=False)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["report", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_one_file_has_curves_videos_scores_settings_and_machine(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = add_run(workspace, 0xAAAA, "baseline")
    code, out, err = said(capsys, "baseline")
    assert (code, out) == (0, f"outputs/reports/{job}.html\n")
    assert "6 videos" in err
    page = (workspace / out.strip()).read_text()
    assert page.count('src="data:video/mp4;base64,') == 6
    assert page.count("<svg ") >= 3
    assert str(workspace) not in page  # whoever gets it need not know where it was made
    assert f"checkpoints/{0xAAAA:04x}/checkpoint_step_300, " in page
    for words in (
        "step 100", "0.2100 floor", "0.3100 ceiling", 'value="0.500"', "12.5 real against real", "80.25 … 99.5",
        "blind to time; does not see: shuffled", "A100", "85.0 GB", "learning_rate",
    ):  # fmt: skip
        assert words in page, words


def test_nothing_in_it_is_loaded_from_elsewhere_or_does_anything(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = add_run(workspace, 0xAAAA, "<b onclick=hacked()>name</b>", data=f"data/{'<i>x</i>'}")
    out = said(capsys, job)[1].strip()
    page = (workspace / out).read_text()
    assert not re.search(r"<(script|iframe|link|object|embed|b onclick|i>)", page)
    places = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^">)\s]+)', page.replace("&quot;", ""))
    assert [one for one in places if not one.startswith(("data:", "x"))] == []
    assert "&lt;script&gt;window.hacked" in page
    assert "default-src 'none'" in page


def test_two_runs_stand_side_by_side_with_the_settings_that_differ_first(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_run(workspace, 0xAAAA, "baseline")
    add_run(workspace, 0xBBBB, "wider", learning_rate=5e-3)
    assert said(capsys, "baseline", "wider", "--to", "both.html")[:2] == (0, "both.html\n")
    page = (workspace / "both.html").read_text()
    different = re.search(r'<div id="differences">(.*?)</div></div>', page, re.DOTALL)
    assert different is not None
    assert re.findall(r'<th scope="row">([^<]*)</th>', different[1]) == ["checkpoints", "learning_rate"]
    assert "<b>" not in different[1]
    assert page.count("<h3>baseline</h3>") == page.count("<h3>wider</h3>") > 3


def test_the_videos_take_no_more_room_than_was_asked_and_the_last_checkpoint_stays(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_run(workspace, 0xAAAA, "baseline", steps=tuple(range(10, 300, 10)))
    assert json.loads(said(capsys, "baseline", "--json")[1])["videos"] == 16
    size = (workspace / next((workspace / "outputs").rglob("*.mp4"))).stat().st_size * 4 / 3
    told = json.loads(said(capsys, "baseline", "--json", "--video-mb", str(5 * size / 1e6))[1])
    assert (told["videos"], told["videos_left_out"]) == (4, 54)
    page = (workspace / told["report"]).read_text()
    assert re.findall(r"<figcaption>step (\d+)", page) == ["10", "290"] * 2
    assert json.loads(said(capsys, "baseline", "--json", "--video-mb", "0")[1])["videos"] == 0
    assert "--video-mb allows more" in (workspace / told["report"]).read_text()


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_of_many_steps_the_first_and_the_last_are_kept(most: int) -> None:
    chosen = spread(list(range(0, 500, 7)), most)
    assert len(chosen) == most
    assert chosen[-1] == 497
    assert most == 1 or chosen[0] == 0
    assert chosen == sorted(set(chosen))


@pytest.mark.parametrize("video", ["../secret.mp4", "/etc/passwd", "outputs/../../secret.mp4", "outputs/link.mp4",
                                   "notes.txt", "outputs/notes.txt", "outputs/\0.mp4"])  # fmt: skip
def test_what_a_host_says_brings_no_other_file_into_the_report(
    workspace: Path, capsys: pytest.CaptureFixture[str], video: str
) -> None:
    root = workspace / "inner"
    (root / "outputs").mkdir(parents=True)
    (root / "t2v.toml").touch()
    secret = workspace / "secret.mp4"
    secret.write_bytes(b"c2VjcmV0" * 100)
    (root / "outputs/link.mp4").symlink_to(secret)
    for name in ("notes.txt", "outputs/notes.txt"):
        (root / name).write_bytes(b"c2VjcmV0" * 100)
    add_ended(root, "train", T, [{"kind": "sample", "video": video, "prompt": "a", "step": 1}], preset="tiny")
    code = main(["--workspace", str(root), "report", "train"])
    page = (root / capsys.readouterr().out.strip()).read_text()
    assert code == 0
    assert "data:video" not in page
    assert "its 1 sample is not here" in page


def test_a_sample_that_another_run_wrote_over_is_left_out(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_run(workspace, 0xAAAA, "baseline")
    for video in (workspace / "outputs").rglob("checkpoint_step_100/0.mp4"):
        write_json(video.with_suffix(".json"), {"video": {"file": video.name}, "job": "another"})
    told = json.loads(said(capsys, "baseline", "--json")[1])
    assert (told["videos"], told["videos_left_out"]) == (5, 1)
    assert "5 of 6 samples; 1 not here" in (workspace / told["report"]).read_text()


def test_a_run_of_a_host_is_told_as_far_as_it_is_known_here(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "t2v.toml").write_text('[host.vm]\naddress = "127.0.0.1"\nport = 9\n')
    job = "20261122-181501-train-3f2a"
    spool = Spool.of(Workspace(workspace), "vm", job)
    spool.keep(JobRow(job, "train", "running", started_t=T))
    video = "/home/me/text2video/outputs/samples/checkpoint_epoch_1/0.mp4"
    events = [*of_training(50)[:-1], {"kind": "sample", "video": video, "prompt": "a", "step": 50}]
    spool.write("events.jsonl", 0, lines_of(events, T))
    said(capsys, "3f2a", "--to", "there.html")
    page = (workspace / "there.html").read_text()
    assert "t2v pull videos --host vm brings them" in page
    assert "the terminal UI asks vm for them" in page
    assert page.count("<svg ") >= 2
    add_sample(workspace / "outputs/samples/checkpoint_epoch_1/0.mp4", job)
    said(capsys, "3f2a", "--to", "there.html")
    assert (workspace / "there.html").read_text().count("data:video/mp4") == 1


def test_wrong_requests_are_one_sentence_and_write_nothing_over(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = add_run(workspace, 0xAAAA, "baseline")
    for words, sentence in (
        (["nothing"], "there is no training 'nothing'"),
        (["baseline", "--to", "report.pdf"], "'report.pdf' is not a name for a report"),
        (["baseline", "--to", "t2v.toml"], "'t2v.toml' is not a name for a report"),
    ):
        code, out, err = said(capsys, *words)
        assert (code, out) == (2, "")
        assert sentence in err
    mine = workspace / f"outputs/reports/{job}.html"
    mine.parent.mkdir(parents=True)
    mine.write_text("<p>mine</p>")
    code, _, err = said(capsys, "baseline")
    assert (code, mine.read_text()) == (2, "<p>mine</p>")
    assert "exists, and is not a report" in err
    mine.unlink()
    assert [said(capsys, "baseline")[0] for _ in range(2)] == [0, 0]
