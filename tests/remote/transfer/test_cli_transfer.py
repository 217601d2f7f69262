"""`t2v pull` and `t2v push` as a person meets them: what is said, what is printed, and with which code they end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts.agent_here import wait_until
from support.hosts.far_host import ANY_SPEC, Far, far_host
from support.hosts.transfers import KIB, cleared, left_behind, same_tree, write_checkpoint, write_videos
from support.house.needs import needs

from remote.transfer.progress import Phase, TransferProgress
from t2v_core.workspace import Workspace
from t2v_tui.cli.transfer import bar, which_host

# Stands for a training: writes a checkpoint a while after it began, another one, and ends.
TRAINS = """
import json, pathlib, sys, time
sys.path[:0] = sys.argv[1:3]
from support.hosts.transfers import write_checkpoint
print("at work", flush=True)
for step in (1, 2):
    while not pathlib.Path(f"go{step}").exists():
        time.sleep(0.01)
    write_checkpoint(pathlib.Path("."), step, size=50_000)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with far_host(tmp_path_factory.mktemp("far")) as far:
        yield far


@pytest.fixture
def far(server: Far, monkeypatch: pytest.MonkeyPatch) -> Far:
    far = cleared(server, monkeypatch)
    far.write_settings()
    return far


def test_a_pull_prints_what_came_and_a_second_one_nothing(far: Far) -> None:
    write_checkpoint(far.there, 1)
    write_checkpoint(far.there, 2)
    first = far.ran("pull", "checkpoints", "--latest")
    assert (first.returncode, first.stdout) == (0, f"{far.here.root}/checkpoints/checkpoint_step_2\n"), first.stderr
    assert "vm: 1 to fetch, 703 kB · 0 here already" in first.stderr
    assert "done: 703 kB in" in first.stderr
    second = far.ran("pull", "checkpoints", "--latest")
    assert (second.returncode, second.stdout) == (0, "")
    assert "vm: 0 to fetch, 0 kB · 1 here already" in second.stderr
    assert same_tree(far.there / "checkpoints/checkpoint_step_2", far.here.root / "checkpoints/checkpoint_step_2")


def test_a_dry_run_says_everything_and_moves_nothing(far: Far) -> None:
    write_videos(far.there, 2)
    done = far.ran("pull", "videos", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [str(far.here.root / f"outputs/v{number}.mp4") for number in range(2)]
    assert not (far.here.root / "outputs").exists()
    (far.here.root / "data").mkdir()
    (far.here.root / "data/clip.mp4").write_text("clip")
    done = far.ran("push", "data", "--dry-run")
    assert (done.returncode, done.stdout) == (0, f"{far.here.root}/data/clip.mp4\n"), done.stderr
    assert not (far.there / "data").exists()


def test_everything_comes_with_all_and_json_says_it_to_a_script(far: Far) -> None:
    write_checkpoint(far.there, 1, size=KIB)
    with far.jobs() as jobs:
        job = far.begin(jobs, "print('hello', flush=True)")
        far.end_of(jobs, job)
    done = far.ran("--json", "pull", "--all")
    said = json.loads(done.stdout)
    assert done.returncode == 0
    assert said["paths"] == ["checkpoints/checkpoint_step_1", f".t2v/spool/vm/{job}/log"]
    assert "there are no outputs on vm yet" in done.stderr
    assert far.spool(job).log.read_bytes() == b"hello\n"
    assert json.loads(far.ran("--json", "pull", "--all").stdout)["paths"] == []


def test_what_is_refused_makes_the_code_one_and_the_rest_comes(far: Far) -> None:
    write_videos(far.there, 2)
    (far.there / "outputs/\x1b[31mred.mp4").write_text("red")
    (far.here.root / "outputs").mkdir()
    (far.here.root / "outputs/v0.mp4").write_text("my own")
    done = far.ran("pull", "videos")
    assert (done.returncode, done.stdout) == (1, f"{far.here.root}/outputs/v1.mp4\n")
    assert "refused: outputs/\\x1b[31mred.mp4 is refused: it has control characters" in done.stderr
    assert "refused: outputs/v0.mp4 is here already and did not come from vm: see --replace" in done.stderr
    assert "\x1b" not in done.stderr
    assert far.ran("pull", "videos", "--replace").returncode == 1
    assert (far.here.root / "outputs/v0.mp4").read_bytes() == (far.there / "outputs/v0.mp4").read_bytes()


def test_a_push_of_code_prints_what_went_and_says_what_it_left_alone(far: Far) -> None:
    subprocess.run([needs("git"), "init", "-q", str(far.here.root)], check=True, timeout=120)
    (far.here.root / "train.py").write_text("new")
    (far.there / "t2v.toml").write_text("the host's own")
    done = far.ran("push", "code")
    assert (done.returncode, done.stdout) == (1, f"{far.here.root}/train.py\n")
    assert "t2v.toml on vm is left alone: there is another file of that name, not pushed; see --replace" in done.stderr
    assert (far.there / "train.py").read_text() == "new"
    assert (far.there / "t2v.toml").read_text() == "the host's own"


def test_ctrl_c_leaves_what_came_and_the_same_command_goes_on(far: Far) -> None:
    write_checkpoint(far.there, 1, size=24_000 * KIB)
    far.proxy.rules.stall_after = far.proxy.passed + 12_000 * KIB
    child = far.t2v("pull", "checkpoints")
    part = far.here.root / "checkpoints/checkpoint_step_1.part/model.safetensors.part"
    wait_until(lambda: part.exists() and part.stat().st_blocks > 1000)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert (child.returncode, out) == (130, ""), err
    assert "interrupted: what came is kept; the same command continues where it stopped" in err
    assert not (far.here.root / "checkpoints/checkpoint_step_1").exists()
    assert left_behind(part.parent)
    far.proxy.rules.stall_after = None
    assert far.ran("pull", "checkpoints").returncode == 0
    assert same_tree(far.there / "checkpoints", far.here.root / "checkpoints")


def test_new_checkpoints_come_home_while_training_goes_on_and_watching_ends_with_it(far: Far) -> None:
    folders = [str(Path(__file__).parents[2]), str(Path(__file__).parents[3])]
    with far.jobs() as jobs:
        job = jobs.submit("train", ANY_SPEC, argv=[sys.executable, "-c", TRAINS, *folders]).job
        child = far.t2v("pull", "--watch")
        for step in (1, 2):
            assert child.poll() is None
            (far.there / f"go{step}").touch()
            wait_until((far.here.root / f"checkpoints/checkpoint_step_{step}").exists)
        out, err = child.communicate(timeout=240)
        assert child.returncode == 0, err
        assert jobs.row(job).state == "succeeded"
    assert out.splitlines() == [f"{far.here.root}/checkpoints/checkpoint_step_{step}" for step in (1, 2)]
    for step in (1, 2):
        (far.there / f"go{step}").unlink()


def test_on_a_terminal_there_is_a_bar_with_rate_and_time_left(far: Far) -> None:
    write_checkpoint(far.there, 1, size=12_000 * KIB)
    far.proxy.rules.delay_s = 0.1
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "t2v_tui.cli.main", "pull", "checkpoints"], cwd=far.here.root,
        env=os.environ | {"XDG_CONFIG_HOME": str(far.config), "TERM": "xterm", "COLUMNS": "100"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=follower,
    ) as child:  # fmt: skip
        os.close(follower)
        seen = b""
        while True:
            try:
                data = os.read(leader, 4096)
            except OSError:
                break
            if not data:
                break
            seen += data
        assert child.wait(timeout=240) == 0
    os.close(leader)
    text = seen.decode(errors="replace")
    assert " of 14 MB" in text or " of 14.0 MB" in text
    assert "MB/s" in text
    assert " left" in text


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["pull"], 2, "what should be pulled?"),
        (["pull", "checkpoints"], 2, "there is no checkpoints in vm:"),
        (["pull", "../x"], 2, "../x is not a path in the workspace there"),
        (["pull", "videos", "--host", "vn"], 2, "has no host 'vn'"),
        (["pull", "videos", "--host", "local"], 2, "this machine has the files already"),
        (["push", "nothing-here"], 2, "there is no nothing-here in"),
        (["push", "code"], 2, "git lists nothing in"),
        (["push"], 2, "WHAT"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_what_was_asked_wrongly_is_a_sentence(far: Far, words: list[str], code: int, sentence: str) -> None:
    done = far.ran(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_that_is_off_is_code_three(far: Far) -> None:
    (far.here.root / "t2v.toml").write_text('[host.vm]\naddress = "127.0.0.1"\nport = 9\nuser = "x"\n')
    done = far.ran("pull", "checkpoints")
    assert done.returncode == 3
    assert "127.0.0.1:9 refuses the connection" in done.stderr


def test_which_host_is_meant_is_asked_when_there_are_several(tmp_path: Path) -> None:
    from t2v_core.errors import InvalidRequest

    workspace = Workspace(tmp_path)
    with pytest.raises(InvalidRequest, match="names no host"):
        which_host(None, workspace)
    (tmp_path / "t2v.toml").write_text("[host.one]\n[host.two]\n")
    with pytest.raises(InvalidRequest, match="which host: one, two"):
        which_host(None, workspace)
    assert which_host("two", workspace) == "two"


def test_a_row_is_drawn_in_megabytes_and_in_gigabytes_when_there_are_many() -> None:
    row = TransferProgress(Phase.MOVING, 1_500_000, 3_000_000, 0, 1, 500_000.0)
    assert row.left_s == 3
    assert bar(row).plain() == {"done": 1.5, "total": 3.0, "unit": "MB"}
    assert bar(TransferProgress(Phase.MOVING, 10**9, 4 * 10**9, 0, 1)).unit == "GB"
    assert time.time() - bar(row).t < 5
