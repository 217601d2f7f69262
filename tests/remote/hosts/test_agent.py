"""The agent's conversation: what is asked arrives exactly, answers find their caller, and no byte of a log is lost."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import random
import signal
import statistics
import string
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hosts.agent_here import DEADLINE_S, WAITS, Here, agent, open_agent, wait_until
from support.house.needs import needs
from support.house.under_load import slowed

from remote.agent.bundle import bundle_sha256
from remote.agent.streams import ByteStream
from remote.errors import AgentError, JobNotFound, LinkLost, NotAnswered, Refused
from remote.hosts import agent_client
from remote.hosts.agent_client import Agent, ProcessChannel, frames, ready

AGENT = Path(agent_client.__file__).parents[1] / "agent"
CUTS = 100

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


@pytest.fixture(scope="module")
def shared() -> Iterator[Agent]:
    with agent() as shared:
        yield shared


@pytest.fixture
def here(tmp_path: Path, shared: Agent) -> Iterator[Here]:
    (tmp_path / "work").mkdir()
    here = Here(tmp_path / "work", shared)
    yield here
    here.stop_all()


# Nothing but itself, for old Pythons


@pytest.mark.parametrize("module", sorted(AGENT.glob("*.py")), ids=lambda path: path.name)
def test_the_agent_needs_itself_and_the_standard_library_in_the_grammar_of_python_3_9(module: Path) -> None:
    tree = ast.parse(module.read_text(), feature_version=(3, 9))
    imported = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    from_beside = [node for node in imported if isinstance(node, ast.ImportFrom) and node.level]
    beside = {name for node in from_beside for name in ([node.module] if node.module else [a.name for a in node.names])}
    names = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in imported
        if isinstance(node, ast.Import) or not node.level
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    assert beside <= {path.stem for path in AGENT.glob("*.py")}


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
    with pytest.raises(NotAnswered, match=r"hello was not answered within 0 s"):
        here.agent.call("hello", timeout_s=0)
    assert here.agent.is_up


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


# GPUs

NVIDIA_SMI = """#!{python}
import sys, time
row = "2, {{0}}, NVIDIA A100-SXM4-40GB, {{1}}, 1234, 40960, 51, [N/A], 400.00"
rows = [row.format(number, 7 + number) for number in (0, 1)]
if any("compute-apps" in a for a in sys.argv):
    rows = open({apps!r}).read().splitlines()
if any("driver_version" in a for a in sys.argv):
    rows = ["550.54.15"]
print("\\n".join(rows), flush=True)
while "-l" in sys.argv:
    time.sleep(0.2)
    for row in rows:
        print(row, flush=True)
        time.sleep(0.05)
"""


@pytest.fixture
def gpu_here(here: Here) -> Iterator[Here]:
    """The same workspace on a machine that seems to have two GPUs."""
    folder = here.workspace.parent / "bin"
    folder.mkdir()
    (folder / "apps").touch()
    program = folder / "nvidia-smi"
    program.write_text(NVIDIA_SMI.format(python=sys.executable, apps=str(folder / "apps")))
    program.chmod(0o755)
    with agent(PATH=f"{folder}:{os.environ['PATH']}") as one:
        yield Here(here.workspace, one)


def test_gpus_are_told_by_named_fields_and_what_is_not_available_is_none(gpu_here: Here) -> None:
    expected = {
        "count": 2, "index": 1, "name": "NVIDIA A100-SXM4-40GB", "utilization_percent": 8,
        "memory_used_mib": 1234, "memory_total_mib": 40960, "temperature_c": 51, "power_w": None, "power_limit_w": 400,
    }  # fmt: skip
    said = gpu_here.call("gpu")
    assert (said["gpus"][1], len(said["gpus"]), said["why"]) == (expected, 2, "")
    assert gpu_here.call("probe")["driver"] == "550.54.15"
    environment = {"PATH": f"{gpu_here.workspace.parent / 'bin'}:{os.environ['PATH']}"}
    channel = open_agent("metrics", **environment)
    stream = frames(channel, {"interval_s": 1, "workspace": str(gpu_here.workspace)})
    for _ in range(3):
        line, _data = next(stream)
        assert [gpu["index"] for gpu in line["gpus"]] == [0, 1]
        assert line["gpus"][1] == expected
        assert 0 <= line["cpu_percent"] <= 100
        assert 0 < line["memory"]["available_bytes"] < line["memory"]["total_bytes"]
        assert line["disk_free_bytes"] > 0
    channel.close()


def test_without_a_gpu_there_is_a_sentence() -> None:
    with agent(PATH="/nowhere") as one:
        said = one.call("gpu")
    assert said["gpus"] == []
    assert "no nvidia-smi" in said["why"]
    line, _ = next(frames(open_agent("metrics", PATH="/nowhere"), {"interval_s": 1}))
    assert line["gpus"] == []
    assert "no nvidia-smi" in line["why"]


def test_stop_tells_whose_gpu_memory_is_left(gpu_here: Here) -> None:
    """The driver of this machine names a process of the job for longer than it lives."""
    job = gpu_here.start(WAITS, "0")
    gpu_here.at_work(job)
    pid = gpu_here.state(job)["pid"]
    (gpu_here.workspace.parent / "bin/apps").write_text(f"1, 77\n{pid}, 1500\n")
    answer = gpu_here.call("stop", job=job, grace_s=0.2)
    assert (answer["left"], answer["gpu_checked"]) == ([], True)
    assert answer["gpu_left"] == [{"pid": pid, "memory_used_mib": 1500}]


# Every byte once, in order

# Writes lines of varied length and rotates both files every 64 KB or so, until a file named `go` is there.
CHATTER = """
import os, pathlib, random, sys, time
folder = pathlib.Path("jobs", os.environ["T2V_JOB"])
draw = random.Random(int(sys.argv[1]))
number = {"log": 0, "events.jsonl": 0}
line = 0
while not pathlib.Path("go").exists():
    for name in number:
        with open(folder / name, "ab") as file:
            for _ in range(draw.randrange(60)):
                line += 1
                end = draw.choice([b"\\n", b"\\r", b"\\r\\n"])
                file.write(b"%d " % line + draw.randbytes(draw.randrange(200)) + end)
            size = file.tell()
        if size > draw.randrange(60_000, 68_000):
            os.rename(folder / name, folder / f"{name}.{number[name]:05d}")
            number[name] += 1
    time.sleep(0.02)
"""


def whole(folder: Path, name: str) -> bytes:
    segments = sorted(folder.glob(f"{name}.[0-9]*"))
    assert len(segments) > 3
    return b"".join(path.read_bytes() for path in [*segments, folder / name] if path.exists())


def read_whole(channel: ProcessChannel, here: Here, job: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for header, data in frames(channel, {"workspace": str(here.workspace), "job": job, "files": {"log": 0}}):
        if data:
            assert header["offset"] == len(files.get(header["file"], b""))
            files[header["file"]] = files.get(header["file"], b"") + data
    channel.close()
    return files


def read_some(here: Here, job: str, spool: dict[str, bytearray], limit: int | None) -> dict[str, Any] | None:
    """Follow from where the spool ends; a reader that dies after `limit` bytes keeps what had arrived."""
    channel = open_agent("follow")
    offsets = {name: len(data) for name, data in spool.items()}
    try:
        for header, data in frames(channel, {"workspace": str(here.workspace), "job": job, "files": offsets}):
            if data:
                assert header["offset"] == len(spool[header["file"]])
                room = len(data) if limit is None else min(len(data), limit)
                spool[header["file"]] += data[:room]
                limit = None if limit is None else limit - room
            if limit == 0 or "end" in header:
                return header.get("end")
        raise AssertionError("a stream ended without its end")
    finally:
        channel.process.kill()
        channel.close()


def test_every_byte_comes_once_and_in_order_through_a_hundred_cuts_of_growing_rotating_files(here: Here) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    draw = random.Random(seed)
    job = here.start(CHATTER, str(seed))
    directory = here.directory(job)
    spool = {"log": bytearray(), "events.jsonl": bytearray()}
    for _ in range(CUTS):
        assert read_some(here, job, spool, draw.choice([1, 10, 1000, 8000, 30_000])) is None
    (here.workspace / "go").touch()
    end = read_some(here, job, spool, None)
    assert end is not None
    assert (end["state"], end["log_bytes"], end["events_bytes"]) == (
        "succeeded", len(spool["log"]), len(spool["events.jsonl"]),
    )  # fmt: skip
    for name, data in spool.items():
        assert hashlib.sha256(data).digest() == hashlib.sha256(whole(directory, name)).digest()


def test_what_is_written_just_before_a_rotation_is_read_before_what_comes_after(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one ")
    stream = ByteStream(tmp_path, "log", 0)
    assert stream.read(100) == b"one "
    with log.open("ab") as file:
        file.write(b"two ")
    log.rename(tmp_path / "log.00000")
    assert stream.read(100) == b"two "
    assert stream.read(100) == b""
    log.write_bytes(b"three ")
    log.rename(tmp_path / "log.00001")
    log.write_bytes(b"four")
    assert stream.read(100) + stream.read(100) == b"three four"
    assert (stream.offset, stream.read(100)) == (18, b"")


def test_what_was_written_between_two_looks_at_a_rotating_file_is_not_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one ")
    stream = ByteStream(tmp_path, "log", 0)
    assert stream.read(100) == b"one "
    too_early, really = [b""], ByteStream._read  # the first look comes before the writer's last words and the rotation
    monkeypatch.setattr(ByteStream, "_read", lambda self, size: too_early.pop() if too_early else really(self, size))
    with log.open("ab") as file:
        file.write(b"two ")
    log.rename(tmp_path / "log.00000")
    log.write_bytes(b"three")
    assert [stream.read(100), stream.read(100)] == [b"two ", b"three"]


def test_an_offset_beyond_the_end_is_refused_and_an_ended_job_ends_at_once(here: Here) -> None:
    job = here.start("print('short')")
    here.end_of(job)
    where = {"workspace": str(here.workspace), "job": job}
    said = list(frames(open_agent("follow"), where | {"files": {"log": 6, "events.jsonl": 0}}))
    assert [header["end"]["state"] for header, _ in said] == ["succeeded"]
    with pytest.raises(AgentError, match="log has 6 bytes, and 7 are reported as read already"):
        list(frames(open_agent("follow"), where | {"files": {"log": 7}}))
    with pytest.raises(JobNotFound):
        list(frames(open_agent("follow"), where | {"job": "nobody", "files": {"log": 0}}))


def test_a_line_is_there_within_fifty_milliseconds(here: Here) -> None:
    program = "import os\nfor _ in range(60):\n    time.sleep(0.02)\n    os.write(1, b'%f\\n' % time.time())"
    job = here.start(WAITS.replace("sys.exit(int(sys.argv[1]))", program))
    lags: list[float] = []
    parameters = {"workspace": str(here.workspace), "job": job, "files": {"log": 0}}
    stream = frames(open_agent("follow"), parameters)
    first = b""
    while not first.endswith(b"\n"):  # print writes the words and the end of the line one after the other
        first += next(data for _, data in stream)
    assert first == b"at work\n"
    (here.workspace / "go").touch()
    for _, data in stream:
        lags += [time.time() - float(line) for line in data.splitlines()[-1:]]
    print(f"lag: median {statistics.median(lags) * 1000:.1f} ms, worst {max(lags) * 1000:.1f} ms of {len(lags)}")
    assert statistics.median(lags) < 0.05


def test_a_follower_is_told_when_a_job_is_lost(here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    state = here.state(job)
    stream = frames(open_agent("follow"), {"workspace": str(here.workspace), "job": job, "files": {"log": 0}})
    assert next(data for _, data in stream).startswith(b"at work")
    for pid in (state["supervisor"], state["pid"]):
        os.kill(pid, 9)
    ends = [header["end"]["state"] for header, _ in stream if "end" in header]
    assert ends == ["lost"]


def test_a_follower_costs_next_to_nothing_while_nothing_happens(here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    channel = open_agent("follow")
    stream = frames(channel, {"workspace": str(here.workspace), "job": job, "files": {"log": 0}})
    next(stream)
    before = cpu_s(channel.process.pid)
    assert "beat" in next(stream)[0]  # after three seconds
    assert cpu_s(channel.process.pid) - before <= 0.03
    channel.close()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_reader_that_goes_away_takes_its_follower_along(here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    leaves: list[Callable[[ProcessChannel], None]] = [ProcessChannel.close, lambda one: os.close(one._out)]
    for leave in leaves:
        channel = open_agent("follow")
        next(frames(channel, {"workspace": str(here.workspace), "job": job, "files": {"log": 0}}))
        leave(channel)
        assert channel.process.wait(DEADLINE_S) == 0
