"""The terminal UI in a real terminal: one key to a training that runs, killed and opened again, any size, any flood."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support.engine.training_set import data_set
from support.hosts.agent_here import Here, agent, is_alive, wait_until
from support.screen.tmux_here import Terminal, t2v_tui, terminal

from t2v_core.workspace import Workspace

FLOODS = """
import sys, time
until = time.monotonic() + 20
while time.monotonic() < until:
    sys.stdout.write("".join(f"line {n} of a flood that does not end\\n" for n in range(1000)))
    sys.stdout.flush()
    time.sleep(0.02)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """With a small data set, and nothing left running behind."""
    (tmp_path / "t2v.toml").write_text(
        f'data = "{data_set()}"\ndevice = "cpu"\n[train]\npreset = "tiny"\nepochs = 400\nbatch_size = 2\nsamples = 0\n'
    )
    yield Workspace(tmp_path)
    with agent() as one:
        Here(tmp_path, one).stop_all()


def opened(workspace: Workspace, size: tuple[int, int] = (120, 40)) -> AbstractContextManager[Terminal]:
    return terminal(t2v_tui("--workspace", str(workspace.root)), cwd=workspace.root, size=size)


@pytest.mark.slow
def test_one_key_starts_a_training_and_a_killed_app_finds_it_again(workspace: Workspace) -> None:
    with opened(workspace) as one:
        one.wait_for("t2v .* HERE local")
        one.press("t")
        one.wait_for("✓ launch")
        one.wait_for(r"step .+ / 4.400 .* it/s")
        one.wait_for(r"step \d+/4400 loss \d\.\d+ lr")
        (job,) = workspace.jobs.glob("*-train-*")
        app = ui_process(one.pid)
        os.kill(app, signal.SIGKILL)
        wait_until(lambda: not is_alive(app))
        one.wait_for("ended with 137")
    with opened(workspace) as again:
        screen = again.wait_for(r"step .+ / 4.400 .* it/s")
        assert job.name.rpartition("-")[2] in screen
        again.wait_for(r"step \d+/4400 loss \d\.\d+ lr")
        again.press("x")
        again.wait_for("Stop this training")
        again.press("x")  # the key that asked does not answer
        again.press("s")
        again.wait_for("■ stopped")
        again.press("q")
        again.wait_for("ended with 0")


def ui_process(shell: int) -> int:
    """The Python that the terminal's shell has started."""
    return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])


def test_leaving_says_what_goes_on(workspace: Workspace) -> None:
    with agent() as one:
        here = Here(workspace.root, one)
        job = here.start("import time\nprint('at work', flush=True)\ntime.sleep(600)", verb="train")
        here.at_work(job)
        with opened(workspace, size=(80, 24)) as shown:
            shown.wait_for("train")
            shown.press("7")
            shown.wait_for("● running")
            shown.press("q")
            screen = shown.wait_for("Come back: t2v-tui --workspace")
            assert "train running on local" in screen
            assert job in screen.replace("\n", "")


def test_a_flood_of_lines_and_a_storm_of_sizes_leave_it_alive(workspace: Workspace) -> None:
    with agent() as one:
        here = Here(workspace.root, one)
        job = here.start(FLOODS, verb="train")
        here.at_work(job)
        with opened(workspace) as shown:
            shown.wait_for("runs")
            shown.press("9")
            shown.wait_for("of a flood that does not end")
            for columns, rows in ((120, 40), (40, 10), (10, 3), (200, 60), (61, 16), (300, 20), (120, 40)):
                shown.resize(columns, rows)
            screen = shown.wait_for(r"log · .*following")
            assert "of a flood" in screen
            shown.resize(40, 10)
            shown.wait_for("t2v needs 60x15")
            shown.resize(80, 24)
            shown.wait_for("1 Train")
            shown.press("q")
            shown.wait_for("ended with 0")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_the_first_page_checks_everything_and_every_screen_opens(tmp_path: Path, size: tuple[int, int]) -> None:
    with terminal(t2v_tui(), cwd=tmp_path, size=size) as one:
        one.wait_for("local engine")
        one.wait_for("✓ python")
        for key, title in (("1", "No training yet"), ("7", "No jobs yet"), ("8", "machine"), ("9", "no job is shown")):
            one.press(key)
            one.wait_for(title)
        one.press("?")
        one.wait_for("Keys")
        one.press("Escape")  # with a key at its heels it would be another key
        one.wait_until_gone("Keys")
        one.press("C-p")
        one.wait_for("Search for commands")
        one.press("Escape")
        one.wait_until_gone("Search for commands")
        one.press("q")
        one.wait_for("ended with 0")


def test_ascii_means_that_and_no_colour_leaves_words(tmp_path: Path) -> None:
    with terminal(t2v_tui("--ascii"), cwd=tmp_path, env={"NO_COLOR": "1"}) as one:
        one.wait_for("local engine")
        one.press("7")
        screen = one.wait_for("No jobs yet")
        assert re.search(r"\* HERE local", screen)
        assert screen.isascii(), re.findall(r"[^\x00-\x7f]", screen)
        one.press("q")
        one.wait_for("ended with 0")


def test_a_terminal_that_cannot_be_drawn_on_gets_the_commands_instead(tmp_path: Path) -> None:
    for environment, stdin in (({"TERM": "dumb"}, None), ({"TERM": "xterm"}, subprocess.DEVNULL)):
        done = subprocess.run(
            t2v_tui(), cwd=tmp_path, env=os.environ | environment, stdin=stdin,
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert "t2v status, t2v jobs, t2v logs -f" in done.stderr


def test_a_terminal_that_goes_without_a_word_ends_it(tmp_path: Path) -> None:
    """As it does behind `docker exec`: it is nobody's controlling terminal, and no SIGHUP comes of it."""
    (tmp_path / "t2v.toml").write_text("")
    ours, its = pty.openpty()
    with subprocess.Popen(
        t2v_tui("--workspace", str(tmp_path)), cwd=tmp_path, stdin=its, stdout=its, stderr=its, start_new_session=True,
        env=os.environ | {"TERM": "xterm-256color", "LINES": "40", "COLUMNS": "120"},
    ) as app:  # fmt: skip
        try:
            os.close(its)
            shown = b""
            while b"Quit" not in shown and b"quit" not in shown:
                assert select.select([ours], [], [], 60)[0], shown
                shown += os.read(ours, 65536)
            os.close(ours)
            assert app.wait(60) == -signal.SIGHUP
        finally:
            app.kill()


@pytest.mark.parametrize(
    ("arguments", "content", "sentence"),
    [
        (["--workspace", "nowhere"], "", "there is no folder"),
        ([], "[tui]\nthem = 1\n", "has no setting 'them'"),
    ],
)
def test_what_is_asked_wrongly_is_one_sentence(
    tmp_path: Path, arguments: list[str], content: str, sentence: str
) -> None:
    (tmp_path / "t2v.toml").write_text(content)
    with terminal(t2v_tui(*arguments), cwd=tmp_path) as one:
        screen = one.wait_for("ended with 2")
        assert sentence in screen
        assert "Traceback" not in screen


def test_d_on_the_first_page_opens_the_demo_on_a_vm_that_is_off(tmp_path: Path) -> None:
    with terminal(t2v_tui(), cwd=tmp_path) as one:
        one.wait_for("local engine")
        one.press("d")
        one.wait_for(r"○ STOPPED demo-vm  simulated")
        one.press("t")
        one.wait_for(r"y starts demo-vm, which then costs \$\d")
        one.press("Escape")
        one.wait_for("cancelled")
        one.press("q")
        assert "demo-vm" not in one.wait_for("ended with 0")
