"""One command of `t2v` on hostile input, and all that is wrong with how it answered."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired

from bench.cloud.gcloud_env import gcloud_env

from support.engine.forked_command import ForkedCommand
from support.hostile.hostile_files import MARK, put, take_away
from support.hostile.hostile_world import World
from support.house.left_behind import processes_of

DEADLINE_S = 60.0
# 0 done, 1 failed, 2 invalid request, 3 unreachable, 4 stopped, 130 interrupted: as `t2v --help` says.
CODES = (0, 1, 2, 3, 4, 130)
# A command that would go on for minutes, or until Ctrl-C: once it has said so much it is interrupted.
BEGUN = {"demo": "1 of ", "web": "http://", "verify-resume": "▸", "pull": "watching "}
OWN_FAULT = re.compile(
    r"Traceback|t2v itself failed|the traceback is in the job's log|gave no reason|no reason given|Exception ignored"
)
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")
LONGEST_SAID = 3000
GUARD = Path(__file__).parents[2] / "bench/loopback_only"


@dataclass(frozen=True)
class Case:
    """A command line, and what is hostile around it.

    about:     command, field or place, and value, in words
    variables: of the environment
    settings:  what stands in t2v.toml instead
    place:     (path, form): what lies there instead
    names:     of which a refusal has to say one
    """

    about: str
    words: tuple[str, ...]
    names: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    settings: str | None = None
    place: tuple[str, str] | None = None
    stdout: str | None = None


@dataclass(frozen=True)
class Answer:
    code: int | None
    stdout: str
    stderr: str
    seconds: float


def tried(case: Case, world: World) -> list[str]:
    """Everything that is wrong with the answer; nothing when all is well. The world is as before afterwards."""
    before = set(_jobs(world))
    try:
        put_in_place(case, world)
        placed = _print_of(world, case)
        answer = run(case, world)
        wrong = [*faults(case, answer), *_faults_of_logs(world, before)]
        if answer.code not in (0, None) and (gone := [path for path in world.lost() if not _is_of(path, case)]):
            wrong.append(f"lost: {', '.join(gone[:3])}")
        if answer.code not in (0, None) and placed != _print_of(world, case):
            wrong.append(f"what lay in {case.place} is not what it was")
        if marks := list(world.base.rglob(MARK)):
            wrong.append("the code in a pickle was run")
            for mark in marks:
                mark.rmdir()
        return [f"{one}\n{_told(answer)}" for one in wrong]
    finally:
        world.restore()


def put_in_place(case: Case, world: World) -> None:
    if case.settings is not None:
        file = world.root / "t2v.toml"
        file.write_text(case.settings)
    if case.place is not None:
        path, form = case.place
        take_away(world.root / path)
        put(form, world.root / path)


def _is_of(path: str, case: Case) -> bool:
    return (case.settings is not None and path == "t2v.toml") or (
        case.place is not None and (path == case.place[0] or path.startswith(case.place[0] + "/"))
    )


def _print_of(world: World, case: Case) -> object:
    if case.place is None:
        return None
    path = world.root / case.place[0]
    with suppress(OSError):
        status = path.lstat()
        return (status.st_ino, status.st_size, status.st_mode)
    return None


def run(case: Case, world: World) -> Answer:
    """Run it to its end, or kill it with all that it started."""
    stdout, stderr = world.base / "stdout", world.base / "stderr"
    for file in (stdout, stderr):
        file.write_bytes(b"")
    variables = environment(world.root, world.home) | dict(case.variables)
    began = time.monotonic()
    command = ForkedCommand(
        case.words, world.root, variables, (case.stdout or str(stdout), str(stderr)), as_everybody=True,
        site=GUARD / "sitecustomize.py",
    )  # fmt: skip
    sign, is_asked = BEGUN.get(next((word for word in case.words if word in BEGUN), "")), False
    while command.poll() is None:
        with suppress(TimeoutExpired):
            command.wait(0.05 if sign else DEADLINE_S)
        if sign and not is_asked and sign in read(stdout) + read(stderr):
            command.send_signal(signal.SIGINT)
            is_asked = True
        if command.poll() is None and time.monotonic() - began > DEADLINE_S:
            _kill(command.pid, world)
            command.wait(10)
            return Answer(None, read(stdout), read(stderr), time.monotonic() - began)
    return Answer(command.returncode, read(stdout), read(stderr), time.monotonic() - began)


def environment(root: Path, home: Path) -> dict[str, str]:
    """Of somebody who has nothing and no network: what leaves loopback is refused, Google's cloud is a closed port."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "CLOUDSDK", "GOOGLE_"))}
    return kept | gcloud_env(home) | {
        "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "HF_HOME": str(home / "hf"), "NO_COLOR": "1",
        "T2V_COMPUTE_ENDPOINT": "http://127.0.0.1:9", "LEFT_LOOPBACK": str(home / "left-loopback"),
        "T2V_SKY": "/bin/true",  # in the place of SkyPilot, which asks clouds
        "PYTHONPATH": os.pathsep.join([str(GUARD), str(Path(__file__).parents[3])]), "PWD": str(root),
        "GRADIO_ANALYTICS_ENABLED": "False",
    }  # fmt: skip


def _kill(pid: int, world: World) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    for left in processes_of(world.base):
        with suppress(ProcessLookupError):
            os.kill(left, signal.SIGKILL)


def read(file: Path) -> str:
    return file.read_bytes().decode(errors="replace")


def faults(case: Case, answer: Answer) -> list[str]:
    """What the answer itself shows."""
    said, wrong = answer.stderr, []
    if answer.code is None:
        return [f"no end within {DEADLINE_S:.0f} s"]
    if answer.code not in CODES:
        wrong.append(f"exit code {answer.code}")
    if fault := OWN_FAULT.search(said):
        wrong.append(f"'{fault[0]}'")
    if unsafe := UNSAFE.search(said):
        wrong.append(f"{unsafe[0]!r} reaches the terminal")
    if answer.code in (1, 2, 3):
        wrong += _faults_of_refusal(case, answer, said + answer.stdout)
    return wrong


def _faults_of_refusal(case: Case, answer: Answer, said: str) -> list[str]:
    sentences = [line for line in said.splitlines() if line.startswith("error: ")]
    wrong = []
    if not said.strip():
        wrong.append("it says nothing")
    elif len(said) > LONGEST_SAID:
        wrong.append(f"it says {len(said)} characters")
    if len(sentences) > 1:
        wrong.append("more than one error")
    if said.strip() and answer.code != 3 and not any(name in said for name in case.names if name):
        wrong.append(f"it names none of {[name[:40] for name in case.names]}")
    return wrong


def _jobs(world: World) -> list[Path]:
    return list(world.root.glob("jobs/*"))


def _faults_of_logs(world: World, before: set[Path]) -> list[str]:
    """The engine's own log holds the traceback of what it did not expect."""
    logs = [job / "log" for job in _jobs(world) if job not in before]
    tracebacks = [read(log) for log in logs if log.is_file() and "Traceback" in read(log)]
    return [f"in the job's log: {text.strip().splitlines()[-1][:200]}\n{text[-1500:]}" for text in tracebacks]


def _told(answer: Answer) -> str:
    lines = [f"    code {answer.code}, {answer.seconds:.1f} s"]
    lines += [f"    | {line[:300]!a}" for line in answer.stderr.splitlines()[-6:]]
    return "\n".join(lines)


def made_world(base: Path) -> World:
    """A world with a job that has ended in it, by the command itself."""
    world = World(base)
    world.make()
    for words in (("preprocess",), ("generate", "a red circle", "-o", "outputs/made.mp4")):
        answer = run(Case("", words, ()), world)
        assert answer.code == 0, answer.stderr
    world.remember()
    return world
