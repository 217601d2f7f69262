"""The guard powers off whatever is broken: files of every kind in the place of its own, calls that fail, that hang.

Real looks of the real agent on a stand-in of a machine; the same on real machines is in test_machine_guard.py.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.hosts.agent_here import is_alive, wait_until
from support.hosts.guarded import HOUR, Guarded, guarded, up_h
from support.house.under_load import slowed
from test_guard_alone import looked

from remote.agent.base.bounded import ran, within
from remote.agent.base.processes import boot_id, up_s
from remote.agent.guard import agreed as guard_agreed
from remote.agent.guard import records as guard_files
from remote.agent.guard import signs as guard_signs
from remote.agent.guard import watch as guard
from remote.agent.guard.agreed import RULES
from remote.agent.guard.records import KEEP, LAST_STOP, STATE
from remote.agent.guard.rules import NOTHING, POWER_OFF, GuardMemory
from remote.hosts.agent_client import agent_argv

FILES = (RULES, STATE, KEEP, LAST_STOP)
SEEDS = range(40)
RULES_OF_30_MIN = {
    "idle_stop_min": 30.0, "max_run_h": 1e6, "idle_gpu_percent": 5.0, "workspaces": [], "by": "process",
    "can_power_off": True, "since": {"boot_id": "an-earlier-boot", "up_s": 0.0},
}  # fmt: skip
WRONG = (
    None,
    "soon",
    "",
    [],
    {},
    True,
    -1,
    -1e300,
    float("nan"),
    float("inf"),
    10**400,
    [[]],
    "\0",
    "\ud800",
    {"a": 1},
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A guard's folder in a home of the test's own; `off` lies in it once it was powered off."""
    folder = tmp_path / ".cache/t2v/guard"
    folder.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("T2V_POWER_OFF", f"touch {folder / 'off'}")
    monkeypatch.setattr(guard_signs, "PROC", tmp_path / "proc")
    monkeypatch.setattr(guard_agreed, "UNITS", tmp_path)
    monkeypatch.setattr(guard, "gpu_signs", lambda _: ([], []))
    return folder


def whole(name: str) -> dict[str, Any]:
    now_s, boot = up_s(), boot_id()
    files: dict[str, dict[str, Any]] = {
        RULES: RULES_OF_30_MIN,
        STATE: {"boot_id": boot, "looked_s": now_s, "active_s": now_s, "busy": [], "unknown": []},
        KEEP: {"boot_id": "an-earlier-boot", "until_s": now_s + HOUR, "said_s": now_s},
        LAST_STOP: {"t": 1.0, "why": "idle", "boot_id": "an-earlier-boot", "up_s": 1.0},
    }
    return files[name]


def break_file(path: Path, chance: random.Random) -> str:
    """Something else in its place; returns what."""
    text = json.dumps(whole(path.name))

    def wrong_field() -> None:
        said = dict(whole(path.name))
        field = chance.choice([name for name in said if name != "boot_id"])
        if chance.random() < 0.3:
            del said[field]
        else:
            said[field] = chance.choice(WRONG)
        path.write_text(json.dumps(said))

    kinds: dict[str, Callable[[], object]] = {
        "a wrong field": wrong_field,
        "NUL bytes": lambda: path.write_bytes(bytes(chance.randrange(1, 9000))),
        "the end is NUL bytes": lambda: path.write_bytes(text[: chance.randrange(len(text))].encode() + bytes(800)),
        "cut off": lambda: path.write_text(text[: chance.randrange(len(text))]),
        "any bytes": lambda: path.write_bytes(chance.randbytes(chance.randrange(4000))),
        "another value": lambda: path.write_text(json.dumps(chance.choice(WRONG))),
        "nested": lambda: path.write_text("[" * 100_000),
        "huge": lambda: path.write_bytes(b'{"looked_s": ' + b"1" * 3_000_000),
        "a folder": path.mkdir,
        "a pipe": lambda: os.mkfifo(path),
        "a link to itself": lambda: path.symlink_to(path),
        "a link to nowhere": lambda: path.symlink_to("/nowhere/at/all"),
        "nothing": lambda: None,
    }
    kind = chance.choice(list(kinds))
    path.unlink(missing_ok=True)
    kinds[kind]()
    return f"{path.name}: {kind}"


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_its_files_are_an_idle_machine_is_powered_off(home: Path, seed: int) -> None:
    """As the process that looks does, which remembers what it has seen and was told."""
    chance = random.Random(seed)
    broken = [break_file(home / name, chance) for name in FILES]
    said = guard_agreed.agreed(guard_agreed.read(RULES_OF_30_MIN))
    if said is None:  # there is nothing by that name: no guard is wanted
        assert not (home / RULES).is_symlink()
        assert not (home / RULES).exists()
        return
    idle = GuardMemory(boot_id(), up_s(), up_s() - HOUR)
    seen = guard.look_at_all_events(said, idle)
    assert (seen["did"], (home / "off").exists()) == (POWER_OFF, True), (broken, seen)
    assert guard.guard_status({})["is_installed"], broken


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_its_files_are_it_can_be_asked_and_agreed_with_anew(home: Path, seed: int) -> None:
    chance = random.Random(seed)
    broken = [break_file(home / name, chance) for name in FILES if name != RULES or chance.random() < 0.5]
    guard.guard_status({})
    wanted = {"idle_stop_min": 20.0, "max_run_h": 1e5, "idle_gpu_percent": 5.0, "workspace": str(home)}
    with suppress(IsADirectoryError):  # what somebody made a folder of is not ours to remove
        guard.agree(wanted, "process")
        assert guard_agreed.read(guard_files.said_in(home / RULES)) is not None, broken
        assert guard.guard_status({})["idle_stop_s"] == 20 * 60, broken


def test_a_timer_whose_rules_were_lost_keeps_to_the_copy_beside_its_units(home: Path) -> None:
    copy = {**RULES_OF_30_MIN, "idle_stop_min": 45.0, "uid": os.getuid()}
    (guard_agreed.UNITS / guard_agreed.COPY).write_text(json.dumps(copy))
    (home / RULES).write_bytes(bytes(400))
    said = guard_agreed.agreed()
    assert said is not None
    assert said.idle_stop_min == 45.0
    (guard_agreed.UNITS / guard_agreed.COPY).write_text(json.dumps({**copy, "uid": os.getuid() + 1}))
    lost = guard_agreed.agreed()
    assert lost is not None
    assert (lost.idle_stop_min, lost.max_run_h, lost.were_lost) == (30.0, 24.0, True)
    assert guard.guard_status({})["error"] == "its rules were lost: t2v vm start sets them again"


def test_a_job_whose_files_make_no_sense_does_not_keep_the_machine(home: Path) -> None:
    job = home / "jobs/20261125-101112-train-3f2a"
    job.mkdir(parents=True)
    for request in ('{"queued_t": "soon"}', "{}", '{"queued_t": []}'):
        (job / "request.json").write_text(request)
        (job / "state.json").write_text(json.dumps({"pid": "x", "boot_id": boot_id()}))
        assert guard_signs.job_signs([home]) == []


# Calls that fail


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Guarded]:
    """With no process that looks beside the test."""
    with guarded(tmp_path / "vm") as vm:
        wait_until(lambda: vm.watch_pid > 0)
        pid = vm.watch_pid
        os.kill(pid, 9)
        wait_until(lambda: not is_alive(pid))
        yield vm


def look_after(vm: Guarded, lines: str) -> subprocess.CompletedProcess[str]:
    """One look of the real agent, with these lines run when it has come to be and not begun."""
    argv = agent_argv(["guard-look"], sys.executable)
    place = argv.index("-c") + 1
    argv[place] = argv[place].replace("sys.exit(main", f"{lines}\nsys.exit(main")
    environment = os.environ | vm.environment
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=240, check=False)


FAILS = """
import errno, os, random, sys
def fail(event, arguments):
    {condition}
sys.addaudithook(fail)
"""
NOTHING_IS_WRITTEN = """if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or event in (
        "os.mkdir", "os.rename", "os.remove", "os.truncate"):
        raise {error}"""
NO_SPACE, READ_ONLY, BROKEN = (
    f"OSError(errno.{name}, os.strerror(errno.{name}))" for name in ("ENOSPC", "EROFS", "EIO")
)


@pytest.mark.parametrize("error", [NO_SPACE, READ_ONLY, BROKEN, "MemoryError()"])
def test_where_nothing_can_be_written_an_idle_machine_is_powered_off(vm: Guarded, error: str) -> None:
    vm.was_idle_for(HOUR)
    done = look_after(vm, DEV_NULL + FAILS.format(condition=NOTHING_IS_WRITTEN.format(error=error)))
    assert vm.is_off, done.stdout + done.stderr


# subprocess opens it for writing; that is no disk.
DEV_NULL = "import subprocess; subprocess.Popen._get_devnull = lambda _: os.open(os.devnull, os.O_RDONLY)\n"


def test_without_entropy_a_look_is_as_good_as_any(vm: Guarded) -> None:
    vm.was_idle_for(HOUR)
    done = looked(
        vm,
        "import os, sys, atexit\ndef none(*_): raise NotImplementedError\nos.urandom = os.getrandom = none\n"
        "atexit.register(lambda: sys.stderr.write(' '.join({'random', 'tempfile', 'uuid'} & set(sys.modules))))",
    )
    assert (vm.is_off, done.stderr) == (True, "")


@pytest.mark.parametrize("seed", range(12))
def test_at_its_cap_it_is_powered_off_although_one_call_in_ten_fails(vm: Guarded, seed: int) -> None:
    rules = json.loads(vm.file(RULES).read_text())
    since = {"boot_id": "an-earlier-boot", "up_s": 0.0}
    vm.file(RULES).write_text(json.dumps({**rules, "since": since, "max_run_h": up_h()}))
    some = "if chance.random() < 0.1: raise {error}"
    for number in range(20):
        error = (NO_SPACE, BROKEN, "MemoryError()")[number % 3]
        chance = f"import random; chance = random.Random({seed * 1000 + number})\n"
        look_after(vm, chance + FAILS.format(condition=some.format(error=error)))
        if vm.is_off:
            return
    pytest.fail(f"seed {seed}: it is still on after 20 looks")


# Calls that hang


def test_a_program_that_hangs_with_its_children_is_left_behind() -> None:
    begun = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        ran(["sh", "-c", "sleep 600 & sleep 600"], 0.3)
    with pytest.raises(subprocess.TimeoutExpired):
        ran(["sh", "-c", "setsid sleep 4 & exit 0"], 0.3)  # it has ended, and a child of it holds its output
    assert time.monotonic() - begun < slowed(60)


def test_what_does_not_come_back_is_left_behind_and_what_fails_fails(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
        within(0.2, (tmp_path / "pipe").read_bytes)
    os.close(os.open(tmp_path / "pipe", os.O_RDWR))  # lets go of the thread
    with pytest.raises(FileNotFoundError):
        within(5, (tmp_path / "nothing").read_bytes)
    assert within(5, lambda: 7) == 7


def test_an_nvidia_smi_that_hangs_is_unknown_and_holds_up_to_the_cap(vm: Guarded) -> None:
    vm.program("nvidia-smi", "#!/bin/sh\nsleep 600 &\nsleep 600\n")
    vm.was_idle_for(HOUR)
    short = "import t2v_agent.base.machine\nt2v_agent.base.machine.NVIDIA_SMI_TIMEOUT_S = 0.3"
    done = json.loads(look_after(vm, short).stdout)
    assert (done["did"], len(done["unknown"])) == (NOTHING, 1)
    assert done["unknown"][0].startswith("nvidia-smi does not answer")
    rules = json.loads(vm.file(RULES).read_text())
    since = {"boot_id": "an-earlier-boot", "up_s": 0.0}
    vm.file(RULES).write_text(json.dumps({**rules, "since": since, "max_run_h": up_h()}))
    assert json.loads(look_after(vm, short).stdout)["did"] == POWER_OFF
