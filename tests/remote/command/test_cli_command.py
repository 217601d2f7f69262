"""`t2v vm` and `--host` with a machine that a script switches, over a real sshd."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest
from support.hosts.agent_here import wait_until
from support.machines.command_here import COMMANDS, NAME, CommandHere, command_here

SHAPES = ("data", "shapes", "--host", NAME, "--clips", "2", "--test-clips", "1", "--data", "data/few")


@pytest.fixture(scope="module")
def home_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandHere]:
    with command_here(tmp_path_factory.mktemp("home")) as home:
        yield home


@pytest.fixture
def home(home_of_module: CommandHere) -> CommandHere:
    for name in ("asked", ".t2v/cost/home.jsonl"):
        (home_of_module.here.root / name).unlink(missing_ok=True)
    home_of_module.write_settings('address = "127.0.0.1"', f'key_name = "{NAME}"')
    home_of_module.stand("stopped")
    return home_of_module


def test_status_start_and_stop_do_what_the_script_does(home: CommandHere) -> None:
    off = home.ran("vm", "status")
    assert off.returncode == 0, off.stderr
    rows = dict(line.split(maxsplit=1) for line in off.stdout.splitlines()[1:])
    assert rows["VM"] == "stopped"
    assert "limit" not in rows  # which only a cloud has
    assert "what it costs is not known here" in off.stdout

    started = home.ran("vm", "start")
    assert (started.returncode, started.stdout) == (0, f"{NAME}\trunning\t-\n"), started.stderr
    assert "VM: its start_command runs: ./home.sh start" in started.stderr
    assert f"127.0.0.1:{home.sshd.port}, {NAME}" in started.stderr
    # The server of the bench is on this machine: no guard may power that off.
    assert "nothing stops it when it is idle: it is the machine that t2v runs on" in started.stderr
    assert not (home.sshd.home / ".cache/t2v/guard/rules.json").exists()

    said = json.loads(home.ran("--json", "vm", "status").stdout)
    assert (said["status"], said["is_running"], said["ssh_answers"]) == ("running", True, True)
    stopped = home.ran("vm", "stop")
    assert stopped.returncode == 0, stopped.stderr
    assert f"{NAME} is stopped: stopped" in stopped.stderr
    assert home.asked() == [f"start {NAME}", f"stop {NAME}"]


def test_a_job_starts_the_machine(home: CommandHere) -> None:
    refused = home.ran("jobs", "--host", NAME)
    assert (refused.returncode, f"{NAME} is stopped" in refused.stderr) == (3, True), refused.stderr
    made = home.ran(*SHAPES)
    assert made.returncode == 0, made.stderr
    assert (home.there / "data/few").exists()
    assert home.asked() == [f"start {NAME}"]
    [row] = json.loads(home.ran("--json", "jobs", "--host", NAME).stdout)
    assert row["state"] == "succeeded"


def test_its_price_is_that_of_the_settings(home: CommandHere) -> None:
    home.write_settings('address = "127.0.0.1"', f'key_name = "{NAME}"', "usd_per_hour = 0.4")
    assert "$0.40 an hour" in home.ran("vm", "start", "--no-wait").stderr
    costs = json.loads(home.ran("--json", "vm", "cost").stdout)
    assert (costs["usd_per_hour"], costs["is_estimate"], len(costs["sessions"])) == (0.4, False, 1)


def test_a_price_that_nobody_knows_is_said(home: CommandHere) -> None:
    told = home.ran("vm", "cost")
    assert told.returncode == 2
    assert "what it costs is not known here" in told.stderr


def test_it_is_where_its_status_command_says(home: CommandHere) -> None:
    (home.here.root / "said").write_text('{"state": "on", "address": "127.0.0.1", "machine": "desk", "gpus": ["T4"]}')
    home.write_settings(commands=('status_command = "cat said"',))
    told = home.ran("vm", "status")
    assert told.returncode == 0, told.stderr
    assert "SSH answers  yes" in told.stdout
    assert "desk, 1 × T4" in told.stdout
    assert home.ran("jobs", "--host", NAME).returncode == 0
    listed = json.loads(home.ran("--json", "vm", "list").stdout)
    assert [(one["host"], one["status"]) for one in listed] == [(NAME, "on")]
    [row] = json.loads(home.ran("--json", "host", "list").stdout)
    assert (row["route"], row["pinned"][0][:7]) == (f"{NAME}, by cat said", "SHA256:")


@pytest.mark.parametrize(
    ("commands", "words", "sentence"),
    [
        ((), ("vm", "status"), 'has provider = "command" and no status_command'),
        (('status_command = "echo maybe"',), ("vm", "status"), "of home prints 'maybe', which is not a state"),
        (('status_command = "echo no >&2; exit 9"',), ("vm", "start"), "status_command of home failed with code 9: no"),
        (('status_command = "yes"',), ("vm", "stop"), "prints more than 64 kB"),
        (COMMANDS[:1], ("vm", "start"), "it has no start_command"),
        (('status_command = "echo on"',), ("vm", "stop", "--force"), "it has no stop_command"),
        ((*COMMANDS[:1], 'start_command = "exit 4"'), ("vm", "start"), "start_command of home failed with code 4"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence_with_exit_code_2(
    home: CommandHere, commands: tuple[str, ...], words: tuple[str, ...], sentence: str
) -> None:
    home.write_settings(commands=commands)
    told = home.ran(*words)
    assert (told.returncode, sentence in told.stderr) == (2, True), told.stderr


def test_without_a_start_command_no_guard_may_power_it_off(home: CommandHere) -> None:
    home.write_settings('address = "127.0.0.1"', f'key_name = "{NAME}"', commands=(COMMANDS[0], COMMANDS[2]))
    home.stand("running")
    told = home.ran("vm", "start")
    assert told.returncode == 0, told.stderr
    assert "it has no start_command, so nobody here could start it again" in told.stderr


def test_leaving_a_start_says_how_it_stands(home: CommandHere) -> None:
    home.write_settings(
        'address = "127.0.0.1"', commands=(COMMANDS[0], 'start_command = "echo starting > stands; sleep 300"')
    )
    child = home.t2v("vm", "start")
    assert child.stderr is not None
    assert any("its start_command runs" in line for line in iter(child.stderr.readline, ""))
    wait_until(lambda: (home.here.root / "stands").read_text() == "starting\n")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 130
    assert f"t2v vm stop --host {NAME} ends that" in err
