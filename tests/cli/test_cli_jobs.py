"""`t2v … --host`, jobs, logs, attach, stop: as a person meets them, against a real host over SSH."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine.training_set import asked
from support.hosts.agent_here import WAITS, wait_until
from support.hosts.far_host import ANY_SPEC, Far, far_host

from remote.jobs.follow import LinkState
from remote.replies.job_row import JobRow
from t2v_core.disk.files import incompleteness
from t2v_tui.cli.engine.on_host import EventLines, LinkWords, progress_of
from t2v_tui.cli.jobs.table import ago, table
from t2v_tui.cli.which_job import Listed, fitting, newest

DRAWS = """
import sys
for number in range(50):
    sys.stdout.write(f"\\r{number} of 50")
sys.stdout.write("\\rall of 50\\nend\\n")
"""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with far_host(tmp_path_factory.mktemp("far")) as far:
        far.write_settings()
        yield far


@pytest.fixture(autouse=True)
def fresh(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (far.there / "go").unlink(missing_ok=True)


def begun(far: Far, program: str, *arguments: str) -> str:
    with far.jobs() as jobs:
        return far.begin(jobs, program, *arguments)


def ended(far: Far, program: str) -> str:
    with far.jobs() as jobs:
        job = jobs.submit("shapes", ANY_SPEC, argv=[sys.executable, "-c", program]).job
        far.end_of(jobs, job)
        return job


# Work there


def test_a_verb_there_is_told_as_one_here_and_its_paths_are_those_of_the_host(far: Far) -> None:
    done = far.ran("data", "shapes", "--host", "vm", "--clips", "3", "--test-clips", "1", "--data", "data/few")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"vm:{far.there}/data/few\n"
    assert "4 of 4 clips" in done.stderr
    assert len(list((far.there / "data/few/videos").glob("*.mp4"))) == 4
    assert not (far.here.root / "data").exists()


def test_what_fails_there_ends_with_its_own_code_and_sentence(far: Far) -> None:
    (far.here.root / "in.mp4").touch()
    done = far.ran("add-noise", "in.mp4", "out.mp4", "--host", "vm")
    (far.here.root / "in.mp4").unlink()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"note: in.mp4 means vm:{far.there}/in.mp4; nothing is copied there" in done.stderr
    assert "error: " in done.stderr
    assert "in.mp4" in done.stderr.rpartition("error: ")[2]


def test_a_detached_job_says_its_id_and_is_found_again_by_a_part_of_it(far: Far) -> None:
    done = far.ran("data", "shapes", "--host", "vm", "--clips", "2", "--test-clips", "1", "--detach")
    job = done.stdout.strip()
    assert done.returncode == 0, done.stderr
    assert f"t2v attach {job}" in done.stderr
    watched = far.ran("attach", job[-4:], "--json")
    assert watched.returncode == 0, watched.stderr
    assert json.loads(watched.stdout)["clips"] == 2


def test_the_newest_is_meant_also_when_it_was_detached_or_begun_from_another_machine(far: Far) -> None:
    done = far.ran(
        "data", "shapes", "--host", "vm", "--clips", "2", "--test-clips", "1", "--detach", "--data", "data/b"
    )
    job = done.stdout.strip()
    for forget in (False, True):
        if forget:
            shutil.rmtree(far.here.root / ".t2v/spool")
        watched = far.ran("attach", "--json")
        assert watched.returncode == 0, watched.stderr
        assert f"job {job} on vm" in watched.stderr


@pytest.mark.slow
def test_a_training_there_is_followed_stopped_and_resumed(far: Far) -> None:
    values = asked(epochs=400)
    flags = [part for name in ("preset", "data", "epochs", "device") for part in (f"--{name}", str(values[name]))]
    flags += ["--batch-size", "2", "--checkpoint-every", "1", "--samples", "0", "--host", "vm"]
    training = far.t2v("train", *flags)
    assert training.stderr is not None
    heard = []
    for line in iter(training.stderr.readline, ""):
        heard.append(line)
        if "checkpoint_epoch_" in line:
            break
    stopped = far.ran("stop")
    assert (stopped.returncode, stopped.stdout) == (0, ""), stopped.stderr
    assert "stopped, by stop file" in stopped.stderr
    _, rest = training.communicate(timeout=240)
    assert training.returncode == 4
    assert "go on:   t2v train" in rest
    assert "--resume" in rest
    kept = [path for path in (far.there / "checkpoints").iterdir() if incompleteness(path) is None]
    epochs = max(int(path.name.rpartition("_")[2]) for path in kept) + 1
    resumed = far.ran("train", *flags, "--resume", "--epochs", str(epochs))
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == f"vm:{far.there}/checkpoints/checkpoint_epoch_{epochs}\n"


# Looking


@pytest.mark.parametrize("command", ["jobs", "attach", "logs", "ask", "stop"])
def test_every_command_explains_itself(command: str, far: Far) -> None:
    shown = far.ran(command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Examples:" in shown.stdout
    assert f"t2v {command}" in shown.stdout


def test_looking_at_what_is_here_loads_no_ssh(far: Far) -> None:
    program = (
        "import sys\nfrom t2v_tui.cli.main import main\nassert main(['jobs']) == 0\n"
        "assert not {'paramiko', 'fabric', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=far.here.root, capture_output=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr


def test_jobs_are_listed_here_there_and_from_memory(far: Far) -> None:
    job = begun(far, WAITS, "0")
    now = far.ran("jobs", "--host", "vm", "--json")
    row = next(row for row in json.loads(now.stdout) if row["job"] == job)
    assert (row["host"], row["link"], row["verb"]) == ("vm", "connected", "shapes")
    assert row["state"] in ("starting", "running")
    shown = far.ran("jobs")  # without a connection
    line = next(line for line in shown.stdout.splitlines() if job in line)
    assert row["state"] in line
    assert "vm (known " in line
    far.go()


def test_a_job_is_asked_and_finds_the_request_in_its_folder(far: Far) -> None:
    job = begun(far, WAITS, "0")
    asked_for = far.ran("ask", "pause", job)
    assert (asked_for.returncode, asked_for.stdout) == (0, ""), asked_for.stderr
    assert f"{job} on vm was asked to pause" in asked_for.stderr
    assert (far.there / "jobs" / job / "pause").is_file()
    assert far.ran("ask", "resume", job).returncode == 0
    assert not (far.there / "jobs" / job / "pause").exists()
    far.go()


def test_a_host_that_is_off_is_code_3_and_what_came_is_shown(far: Far) -> None:
    job = ended(far, "print('the log')")
    whole = far.ran("logs", job, "--host", "vm")
    assert (whole.returncode, whole.stdout) == (0, "the log\n")
    live = begun(far, WAITS, "0")
    assert far.ran("logs", live, "--host", "vm").stdout == "at work\n"
    far.sshd.kill()
    far.proxy.cut()
    try:
        listed, part = far.ran("jobs", "--all"), far.ran("logs", live)
        attached = far.ran("attach", live)
    finally:
        far.sshd.start()
    assert listed.returncode == part.returncode == attached.returncode == 3
    assert live in listed.stdout
    assert "as they were last known" in listed.stderr
    assert part.stdout == "at work\n"
    assert "vm is unreachable: " in part.stderr
    assert "this is what came by 2" in part.stderr
    assert attached.stderr.count("error: ") == 1
    far.go()


def test_the_log_of_an_ended_job_is_read_without_the_host(far: Far) -> None:
    job = ended(far, "print('0123456789')")
    assert far.ran("logs", job, "-f", "--host", "vm").stdout == "0123456789\n"
    far.sshd.kill()
    try:
        again = far.ran("logs", job, "--since", "7")
    finally:
        far.sshd.start()
    assert (again.returncode, again.stdout, again.stderr) == (0, "789\n", "")


def test_a_terminal_gets_progress_lines_as_they_stood_last_and_a_pipe_every_byte(far: Far) -> None:
    job = ended(far, DRAWS)
    piped = far.ran("logs", job, "--host", "vm").stdout
    assert piped.count("of 50") == 51
    main_end, terminal = pty.openpty()
    shown = far.t2v("logs", job, stdout=terminal)
    shown.communicate(timeout=240)
    assert shown.returncode == 0
    assert os.read(main_end, 65536).replace(b"\r\n", b"\n") == b"all of 50\nend\n"
    os.close(main_end)
    os.close(terminal)


def test_what_is_unknown_is_code_2_with_the_nearest_name(far: Far) -> None:
    job = ended(far, "print(1)")
    for arguments, said in (
        (("jobs", "--host", "vm2"), "did you mean 'vm'?"),
        (("train", "--host", "vm2"), "did you mean 'vm'?"),
        (("attach", f"{job[:-1]}x", "--host", "vm"), f"did you mean {job}"),
        (("stop", "nobody"), "t2v jobs --all lists them"),
        (("logs", "shapes", "--host", "vm"), "type more of the id"),
        (("ask", "save", job, "--host", "vm"), "has ended already"),
    ):
        answer = far.ran(*arguments)
        assert (answer.returncode, answer.stdout) == (2, ""), answer.stderr
        assert said in answer.stderr
        assert len(answer.stderr.splitlines()) <= 2


def test_a_job_of_this_machine_is_looked_at_in_the_same_way(tmp_path: Path, far: Far) -> None:
    asked_here = far.ran("data", "shapes", "--clips", "2", "--test-clips", "1", "--detach", "--data", "data/here")
    job = asked_here.stdout.strip()
    wait_until((far.here.jobs / job / "exit.json").exists)
    assert far.ran("attach", job).stdout == "data/here\n"
    row = next(row for row in json.loads(far.ran("jobs", "--json").stdout) if row["job"] == job)
    assert (row["host"], row["state"], row["link"]) == ("local", "succeeded", "connected")
    assert far.ran("stop", job).returncode == 0
    assert list(tmp_path.iterdir()) == []


# Words


def test_which_job_is_meant() -> None:
    rows = [
        Listed("local", JobRow("1-train-aa", state="succeeded", queued_t=1)),
        Listed("vm", JobRow("2-train-ab", state="running", queued_t=2), seen_t=9),
        Listed("vm", JobRow("3-train-ac", state="failed", queued_t=3)),
    ]
    assert newest(rows, is_alive_first=False).row.job == "3-train-ac"
    assert newest(rows, is_alive_first=True).row.job == "2-train-ab"
    assert [one.row.job for one in fitting("ab", rows)] == ["2-train-ab"]
    assert len(fitting("train-a", rows)) == 3
    assert fitting("x", rows) == []


def test_the_table_says_state_since_progress_and_how_old_the_word_is() -> None:
    step = {"kind": "step", "step": 120, "total": 400, "loss": 0.3124}
    rows = [
        Listed("vm", JobRow("b", "train", "running", started_t=900, queued_t=2, last_event=step), seen_t=940),
        Listed("local", JobRow("a", "train", "failed", 1, reason="the disk is full\n" * 9, ended_t=100, queued_t=1)),
        Listed("vm", JobRow("c", "preprocess", queued_t=995, needs_gpu=True, place_in_queue=2, after="b")),
    ]
    head, *lines = table(rows, now_t=1000, is_terminal=False)
    assert head.split() == ["job", "verb", "state", "since", "progress", "host"]
    assert [" ".join(line.split()) for line in lines] == [
        "a train ✗ failed 15 min the disk is full the disk is full the disk is f… here",
        "b train ● running 2 min 120 of 400 steps, loss 0.312 vm (known 60 s ago)",
        "c preprocess ◌ queued 5 s place 2 for the GPU, after b vm",
    ]
    said = {-3: "0 s", 99: "99 s", 100: "2 min", 5400: "90 min", 7200: "2 h", 200_000: "2 d"}
    assert {seconds: ago(seconds) for seconds in said} == said


def test_a_link_is_spoken_of_when_it_goes_and_when_it_comes_back() -> None:
    words, row = LinkWords("vm"), JobRow("j", state="running", last_event={"kind": "stage", "name": "train"})
    assert words.of(LinkState(is_up=True, since=0)) == ""
    gone = words.of(LinkState(is_up=False, since=10, why="vm does not answer", last=row))
    assert gone == "link:  vm does not answer; last known: running, train; reconnecting to vm"
    assert words.of(LinkState(is_up=True, since=42)) == "link:  vm is back after 0:32"
    assert words.of(LinkState(is_up=True, since=43)) == ""


def test_lines_come_whole_from_pieces() -> None:
    lines = EventLines()
    assert [lines.of(data) for data in (b"a\nb", b"c\rd\r", b"\ne")] == [["a"], [], ["d"]]
    assert progress_of(JobRow("j")) == ""
