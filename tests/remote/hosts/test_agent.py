"""The agent's conversation: what is asked arrives exactly, answers find their caller, and no byte of a log is lost."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import random
import signal
import string
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.hosts.agent_here import DEADLINE_S, WAITS, Here, agent, open_agent, wait_until
from support.hosts.agent_shared import agent_of_module, here_with_agent, read_whole
from support.house.needs import needs
from support.house.under_load import slowed

from remote.agent.base.bundle import bundle_sha256
from remote.errors import AgentError, JobNotFound, LinkLost, NotAnswered, Refused
from remote.hosts import agent_client
from remote.hosts.agent_client import Agent, ProcessChannel, frames, ready

shared, here = agent_of_module, here_with_agent
AGENT = Path(agent_client.__file__).parents[1] / "agent"
PLANTED = "touch planted"
NASTY = [
    "", " ", "a b", "'", '"', "''", '""', "`", "\\", "\\\\", "$", "$$", "$HOME", "${HOME}", "%", "%n", "%h", "!", "!!",
    "#", "~", "*", "?", "[a]", "{a,b}", "<", ">", "|", "&", ";", "&&", "||", "(", ")", "-", "--", "--help", "-c", "-e",
    "=", "a=b", f"$({PLANTED})", f"`{PLANTED}`", f"; {PLANTED};", f"| {PLANTED}", f"& {PLANTED} &", f"'; {PLANTED}; '",
    f'"; {PLANTED}; "', f"\n{PLANTED}\n", f"$({PLANTED}", f"${{IFS}}{PLANTED}", f"<({PLANTED})", f">{PLANTED}",
    f"\r\n{PLANTED}", "a\nb", "a\r\nb", "\n", "\r", "\t", "\x0b", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x07",
    "\x7f", "\x01\x02\x03", "ä", "é", "e\u0301", "日本語", "🙂", "👩\u200d👩\u200d👧", "\u202eback", "\u200b", "\ufeff",
    "\u2028", "\u0085", "Ω≈ç√", "ﷺ", "{}", "{0}", "%s%s%s", "null", "true", "[]", '{"id": 1}', "\\u0000", "\\n", "..",
    '"}\n{"id": 2, "ask": "hello"}', "../..", "x" * 100_000,
]  # fmt: skip


# What JSON can carry and a command line cannot.
ONLY_JSON = ["\x00", "a\x00b", "\ud800", "x" * 1_000_000]


# Nothing but itself, for old Pythons


@pytest.mark.parametrize("module", sorted(AGENT.rglob("*.py")), ids=lambda path: str(path.relative_to(AGENT)))
def test_the_agent_needs_itself_and_the_standard_library_in_the_grammar_of_python_3_9(module: Path) -> None:
    tree = ast.parse(module.read_text(), feature_version=(3, 9))
    imported = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    from_beside = [node for node in imported if isinstance(node, ast.ImportFrom) and node.level]
    beside = {
        place_of(module, node.level, name)
        for node in from_beside
        for name in ([node.module] if node.module else [a.name for a in node.names])
    }
    names = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in imported
        if isinstance(node, ast.Import) or not node.level
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    assert beside <= set(AGENT.rglob("*.py"))


def place_of(module: Path, level: int, name: str) -> Path:
    """The file that a relative import names, which must lie in the agent."""
    return module.parents[level - 1].joinpath(*name.split(".")).with_suffix(".py")


def test_the_agent_runs_under_python_3_9(tmp_path: Path) -> None:
    program = needs("python3.9")
    with agent(program) as one:
        here = Here(tmp_path, one)
        assert one.greeting["python"].startswith("3.9.")
        job = here.start("print('hello')", env={"A": "b"}, needs_gpu=True)
        assert here.end_of(job)["state"] == "succeeded"
        assert read_whole(open_agent("follow", program), here, job) == {"log": b"hello\n"}
        assert here.call("stop", job=here.start(WAITS, "0"), grace_s=1)["left"] == []
        for verb, parameters in (("probe", {}), ("ls", {"depth": 3}), ("gpu", {}), ("hash", {"paths": ["t2v.toml"]})):
            here.call(verb, **parameters)
        stream = frames(open_agent("metrics", program), {"interval_s": 1})
        assert next(stream)[0]["memory"]["total_bytes"] > 0


# Requests and answers


def test_the_agent_says_first_what_it_is(shared: Agent) -> None:
    said = shared.call("hello")
    assert shared.greeting["agent"] == said["agent"] == bundle_sha256(AGENT)
    assert said["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert said["cores"] == os.cpu_count()
    assert abs(said["time"] - time.time()) < DEADLINE_S


def test_what_is_asked_wrongly_is_a_sentence(here: Here) -> None:
    wrong: list[tuple[type[Exception], str, str, dict[str, Any]]] = [
        (Refused, "the agent knows no 'dance'", "dance", {}),
        (Refused, "verb is missing", "start", {}),
        (Refused, "'../x' is not a verb", "start", {"verb": "../x", "argv": ["true"]}),
        (Refused, "neither python nor argv says what to start", "start", {"verb": "train"}),
        (Refused, "argv must be a list, not \"true\"", "start", {"verb": "train", "argv": "true"}),
        (Refused, "argv must be strings without NUL", "start", {"verb": "a", "argv": ["\x00"]}),
        (Refused, "env must be strings", "start", {"verb": "a", "argv": ["true"], "env": {"A": 1}}),
        (JobNotFound, "there is no job 'x' in", "status", {"jobs": ["x"]}),
        (JobNotFound, "there is no job '../x' in", "stop", {"job": "../x"}),
        (JobNotFound, "there is no folder", "ls", {"path": "nowhere"}),
        (JobNotFound, "there is no file", "read", {"path": "nowhere"}),
    ]  # fmt: skip
    for error, sentence, name, parameters in wrong:
        with pytest.raises(error) as caught:
            here.call(name, **parameters)
        assert sentence in str(caught.value)
    assert here.call("status")["jobs"] == []


def test_a_workspace_that_cannot_be_written_is_a_sentence(shared: Agent) -> None:
    with pytest.raises(AgentError, match="/proc/nowhere: No such file or directory"):
        shared.call("start", workspace="/proc/nowhere", verb="test", argv=["true"])


def test_answers_of_many_threads_find_their_callers_and_a_slow_one_holds_up_none(here: Here) -> None:
    slow = here.start(WAITS, "0")
    here.at_work(slow)
    stopping = threading.Thread(target=here.call, args=("stop",), kwargs={"job": slow, "grace_s": 1})
    for number in range(20):
        (here.workspace / f"{number}").write_text(f"content {number}")
    found: dict[int, bytes] = {}

    def ask(number: int) -> None:
        for _ in range(5):
            found[number] = base64.b64decode(here.call("read", path=str(number))["data"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in (stopping, *threads):
        thread.start()
    for thread in (*threads, stopping):
        thread.join()
    assert found == {number: f"content {number}".encode() for number in range(20)}


def test_an_agent_that_dies_is_a_lost_link_for_whoever_waits_and_whoever_asks_later(here: Here) -> None:
    job = here.start("import signal, time\nsignal.signal(2, signal.SIG_IGN)\nprint(1, flush=True)\ntime.sleep(600)")
    here.at_work(job)
    channel = open_agent("serve")
    with Agent(channel, "here") as one:
        waiting = threading.Thread(target=expect_lost, args=(Here(here.workspace, one), job))
        waiting.start()
        wait_until((here.directory(job) / "stop").exists)
        channel.process.kill()
        waiting.join(DEADLINE_S)
        assert not waiting.is_alive()
        assert not one.is_up
        with pytest.raises(LinkLost):
            one.call("hello")


def expect_lost(here: Here, job: str) -> None:
    with pytest.raises(LinkLost):
        here.call("stop", job=job, grace_s=60)


SILENT = """
import sys, time
print('{"agent": "x", "python": "3"}', flush=True)
for line in sys.stdin:
    pass
"""


def test_silence_is_a_lost_link_and_a_late_answer_is_not(here: Here) -> None:
    with (
        Agent(ProcessChannel([sys.executable, "-c", SILENT]), "silent", silence_s=0.5) as silent,
        pytest.raises(LinkLost, match=r"nothing was heard from the agent for 0\.5 s"),
    ):
        silent.call("hello")
    job = here.start(WAITS, "0")
    here.at_work(job)
    channel = here.agent.channel
    assert isinstance(channel, ProcessChannel)
    channel.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(NotAnswered, match=r"hello was not answered within 0\.2 s"):
            here.agent.call("hello", timeout_s=0.2)
    finally:
        channel.process.send_signal(signal.SIGCONT)
    here.agent.call("hello")


GREETS = "print('{}', flush=True); import sys; print(sys.stdin.readline(), end='', flush=True); sys.stdin.read()"


class ReadsLate:
    """`os`, but one thread comes to its reading only when it may, or after a while."""

    def __init__(self) -> None:
        self.late, self.may = threading.Event(), threading.Event()
        self.thread = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def read(self, descriptor: int, size: int) -> bytes:
        if threading.get_ident() == self.thread:
            self.late.set()
            self.may.wait(1.0)
        return os.read(descriptor, size)


def test_whoever_still_reads_from_a_closed_channel_takes_no_byte_of_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next one's pipe has the number that the closed one's had: its answer went to the reader of before."""
    slow, argv, heard = ReadsLate(), [sys.executable, "-c", GREETS], []
    first = ProcessChannel(argv)

    def read() -> None:
        slow.thread = threading.get_ident()
        heard.append(first.read(100, 60.0))

    monkeypatch.setattr("remote.hosts.agent_client.os", slow)
    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: slow.thread != 0)
    first.close()
    second = ProcessChannel(argv)
    try:
        second.write(b"mine\n")
        assert ready([second._out], [], 60.0)  # it has answered: now the other reader would find something
        slow.may.set()
        reader.join(60.0)
        assert second.read(100, 60.0) == b"mine\n"
    finally:
        second.close()
    assert heard == [b""]


def test_a_channel_is_closed_at_once_whoever_writes_or_reads_meanwhile() -> None:
    """Its agent reads nothing, and a child of it holds the output."""
    program = "import subprocess, time; print('{}', flush=True); subprocess.Popen(['sleep', '60']); time.sleep(60)"
    channel = ProcessChannel([sys.executable, "-c", program])
    ended: list[object] = []

    def write() -> None:
        with pytest.raises(LinkLost, match="closed"):
            channel.write(b"x" * 10_000_000)
        ended.append("writer")

    threads = [threading.Thread(target=write), threading.Thread(target=lambda: ended.append(channel.read(1, 60.0)))]
    for thread in threads:
        thread.start()
    sleeper = wait_for_child(channel.process.pid)
    channel.close()
    for thread in threads:
        thread.join(10.0)
    os.kill(sleeper, signal.SIGKILL)
    assert sorted(map(str, ended)) == ["b''", "writer"]


def wait_for_child(pid: int) -> int:
    """The number of the child that a process has begun."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    wait_until(lambda: bool(path.read_text().split()))
    return int(path.read_text().split()[0])


def test_beats_come_while_nothing_is_asked() -> None:
    channel = open_agent("serve")
    began = time.monotonic()
    assert json.loads(channel.read(4096, slowed(10))).keys() == {"beat"}
    assert 2.5 < time.monotonic() - began < slowed(6)
    channel.close()


def test_the_agent_ends_with_its_input() -> None:
    for mode in ("serve", "metrics"):
        channel = open_agent(mode)
        if mode == "metrics":
            channel.write(b'{"interval_s": 1}\n')
        channel.close()
        assert channel.process.returncode == 0


# What is asked arrives exactly


def test_more_than_eighty_nasty_strings_arrive_exactly_and_nothing_planted_runs(here: Here) -> None:
    random_ones = random.Random(7)
    mixed = ["".join(random_ones.choices(string.printable + "äß🙂\u202e", k=20)) for _ in range(40)]
    spec = {"prompts": NASTY + ONLY_JSON + mixed}
    arguments = [text for text in NASTY + mixed if len(text) < 100_000]
    assert len(NASTY) > 80
    program = "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.environ['NASTY'], os.getcwd()]))"
    job = here.start(program, *arguments, spec=spec, env={"NASTY": "".join(arguments)}, key="".join(NASTY))
    assert here.end_of(job)["state"] == "succeeded"
    assert json.loads((here.directory(job) / "spec.json").read_bytes()) == spec
    arrived = json.loads((here.directory(job) / "log").read_bytes())
    assert arrived == [arguments, "".join(arguments), str(here.workspace)]
    assert list(here.workspace.rglob("*planted*")) == []


def test_nasty_names_of_files_and_workspaces_arrive_exactly(tmp_path: Path, shared: Agent) -> None:
    names = sorted({text for text in NASTY if "/" not in text and 0 < len(text.encode()) < 200} - {"..", "."})
    folder = tmp_path / f"$({PLANTED})\n' \"🙂"
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name)
    os.close(os.open(os.fsencode(folder) + b"/\xff\xfe", os.O_CREAT))
    here = Here(folder, shared)
    entries = here.call("ls")["entries"]
    assert {entry["path"] for entry in entries} == {*names, "\udcff\udcfe"}
    hashes = {one["path"]: one["sha256"] for one in here.call("hash", paths=[f"./{name}" for name in names])["files"]}
    assert hashes == {f"./{name}": hashlib.sha256(name.encode()).hexdigest() for name in names}
    read = {name: base64.b64decode(here.call("read", path=f"./{name}")["data"]).decode() for name in names}
    assert read == {name: name for name in names}
    job = here.start("print('here')")
    assert here.end_of(job)["state"] == "succeeded"
    assert list(tmp_path.rglob("planted")) == []


# What lies there


def test_ls_hash_and_read_say_what_lies_there(here: Here) -> None:
    for name, size in (("checkpoint_epoch_1", 5), ("checkpoint_epoch_2", 6)):
        folder = here.workspace / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x" * 5)
        manifest = {"files": {"model.safetensors": {"size_bytes": size, "sha256": ""}}}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    (here.workspace / "checkpoints/checkpoint_epoch_3").mkdir()
    entries = {entry["path"]: entry for entry in here.call("ls", path="checkpoints", depth=2)["entries"]}
    assert [entries[f"checkpoint_epoch_{n}"]["is_complete"] for n in (1, 2, 3)] == [True, False, False]
    assert entries["checkpoint_epoch_1/model.safetensors"]["size_bytes"] == 5
    assert entries["checkpoint_epoch_1/model.safetensors"]["kind"] == "file"
    assert here.call("probe")["checkpoints"] == ["checkpoint_epoch_1"]
    (here.workspace / "big").write_bytes(bytes(range(256)) * 8192)
    part = here.call("read", path="big", offset=1_000_000, size=10)
    assert base64.b64decode(part["data"]) == (bytes(range(256)) * 8192)[1_000_000:1_000_010]
    assert part["size_bytes"] == 2 * 1024 * 1024
    missing = here.call("hash", paths=["nowhere"])["files"][0]
    assert (missing["sha256"], missing["why"]) == (None, "No such file or directory")


def test_a_probe_reads_versions_without_importing_torch(here: Here) -> None:
    said = here.call("probe", python=[sys.executable])
    assert said["engine"]["python"] == sys.version.split()[0]
    assert said["engine"]["torch"]
    assert said["disk_free_bytes"] > 0
    assert here.call("probe", python=["/no/such/python"])["engine"] is None
