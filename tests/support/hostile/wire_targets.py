"""What each reader of the product makes of bytes that somebody else wrote: a value, or a sentence of ours.

A target takes raw bytes, puts them where the reader finds them and reads. Anything but a value or an EngineError, a
`Problem` of the agent's, or `Incomplete`, is a fault of the product.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

from remote.agent.base import whose
from remote.agent.base.files import Problem, read_json
from remote.agent.guard import agreed as guard_agreed
from remote.agent.guard import records as guard_files
from remote.agent.jobs import endings, rows
from remote.agent.transfer import offers, parts, pushed, sums
from remote.cost.ledger import Ledger
from remote.cost.prices import read_table as read_prices
from remote.errors import LinkLost
from remote.gce.helper import _token_in
from remote.gce.login import _name_in
from remote.gce.vm_state import vm_state
from remote.guard import GuardState
from remote.hosts.agent_client import Agent, ReplyLines, error_of, frames
from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import read_hosts
from remote.hosts.ssh_channel import Opening
from remote.jobs.metrics import MachineSample
from remote.jobs.spool import Spool, known_rows
from remote.replies import questions
from remote.replies.guard import GuardStands, NoGuard
from remote.replies.jobs import FollowedEnd
from remote.replies.machine import Sample
from remote.replies.question import Question, read_reply
from remote.replies.questions import HELLO, OFFER, STATUS
from remote.replies.transfer import FullOffer
from remote.transfer.plan.memory import ArrivedFiles
from remote.transfer.plan.offered import read_offer
from remote.transfer.turn import _holder
from remote.workspace_id import identity
from t2v_core.checkpoints.trainer_info import require_usable
from t2v_core.data.video import beside
from t2v_core.disk import files, plain_json
from t2v_core.errors import EngineError
from t2v_core.events import Event, read_events
from t2v_core.settings import values_for
from t2v_core.specs import read_spec
from t2v_core.workspace import Workspace
from t2v_tui.cli.narrate import PlainNarrator
from t2v_tui.library import inventory, prompts, trash
from t2v_tui.library import local as holdings_here
from t2v_tui.library.views import CheckpointView, VideoView, info_of_checkpoint, info_of_video
from t2v_tui.settings import read_tui
from t2v_tui.store import session as memory
from t2v_tui.store.run_fold import Fold
from t2v_tui.text.event_log import line_of

SENTENCES = (EngineError, Problem, files.Incomplete)
Read = Callable[[Path, bytes], object]
QUESTIONS: list[Question[Any]] = [one for one in vars(questions).values() if isinstance(one, Question)]


@dataclass(frozen=True)
class Target:
    """read: from an empty folder; samples: valid inputs, from which others are made"""

    name: str
    read: Read
    samples: tuple[bytes, ...]


class Replay:
    """Implements `Channel` over bytes that are there already, or once somebody has asked."""

    greeting: ClassVar[dict[str, Any]] = {}  # nobody writes to it

    def __init__(self, data: bytes, *, is_asked: bool = True) -> None:
        self._data = memoryview(data)
        self._asked = threading.Event()
        if is_asked:
            self._asked.set()

    def write(self, data: bytes) -> None:  # whatever was asked
        self._asked.set()

    def write_from(self, file: int, offset: int, size: int) -> int:
        self._asked.set()
        return size

    def read(self, size: int, timeout_s: float) -> bytes:
        self._asked.wait(timeout_s)
        data, self._data = bytes(self._data[:size]), self._data[size:]
        return data

    def close(self) -> None:
        """Nothing is held."""


def text(value: object) -> bytes:
    return json.dumps(value).encode()


def lines(*values: object) -> bytes:
    return b"".join(text(value) + b"\n" for value in values)


def placed(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def table_of(data: bytes) -> dict[str, Any]:
    """As `ReplyLines` has it; what is none does not come further."""
    try:
        return plain_json.table(data)
    except ValueError:
        return {}


def _answers(folder: Path, data: bytes) -> object:  # nothing lies in files
    """All that an answer can be, to every question there is."""
    said = table_of(data)
    if "error" in said:
        return error_of(said["error"])
    question = next((one for one in QUESTIONS if one.name == said.get("ask")), STATUS)
    match question.read(said.get("ok"), "vm"):
        case NoGuard() | GuardStands() as guard:
            return GuardState.of(guard, 1e9)
        case FullOffer() as offer:
            return read_offer(offer, ["."], folds_case=False)
        case reply:
            return reply


def _conversation(folder: Path, data: bytes) -> object:
    """What an `Agent` hears: whoever asks gets an answer or a word, and never waits for a listener that is gone."""
    return Agent(Replay(data, is_asked=False), "vm").ask(HELLO, timeout_s=60.0)


def _frames(folder: Path, data: bytes) -> object:
    """Both streams of the agent, as the spool and the gauges take them."""
    spool = Spool(folder / "spool")
    try:
        for header, piece in frames(Replay(data), {}):
            if piece:
                spool.write("log", min(header["offset"], 1 << 20), piece)
            elif "gpus" in header:
                MachineSample.of(read_reply(Sample, header, "vm", "metrics"))
            elif "end" in header:
                spool.keep(read_reply(FollowedEnd, header, "vm", "follow").end)
    except LinkLost:
        return spool.known()
    return spool.known()


def _greeting(folder: Path, data: bytes) -> object:
    opening = Opening("host", time.monotonic() + 60)
    for at in range(0, len(data), 4096):
        if opening.takes(data[at : at + 4096]):
            return opening.greeting
    return str(opening.not_run(1))


def _transfer_lines(folder: Path, data: bytes) -> object:
    stream = ReplyLines(Replay(data))
    found: list[object] = []
    while True:
        try:
            found.append(stream.line())
        except LinkLost:
            return found


def _journal(folder: Path, data: bytes) -> object:
    part = placed(folder, "a.part", bytes(64)), placed(folder, "a.part.journal", data)
    known = parts.read_journal(part[1], "one", 1 << 40)
    one = parts.Part(folder / "a", "one", 64)
    one.open()
    one.done(0, 64)
    one.retire()
    parts.tidy(folder / "a")
    return known, parts.missing(known or [], 1 << 22, 1 << 20)


def _manifest(folder: Path, data: bytes) -> object:
    """Of a folder that is offered, pulled, and opened."""
    placed(folder, "checkpoint_epoch_1/manifest.json", data)
    found: tuple[list[Any], list[Any]] = [], []
    offers.walk(folder, ".", *found)
    said = {"digest": "", "is_same": False, "workspace": "", "units": found[0], "skipped": found[1], "programs": []}
    if isinstance(offer := OFFER.read(said, "vm"), FullOffer):
        read_offer(offer, ["."], folds_case=False)
    return files.incompleteness(folder / "checkpoint_epoch_1", checksums=True)


def _trainer(folder: Path, data: bytes) -> object:
    from t2v_core.checkpoints.checkpoints import list_checkpoints
    from t2v_core.checkpoints.open import open_checkpoint

    path = placed(folder, "checkpoint_epoch_1/trainer.json", data)
    info_of_checkpoint(CheckpointView("checkpoint_epoch_1", 1, ""), holdings_here.read_json(path))
    files.seal(path.parent, {})
    list_checkpoints(folder)
    require_usable(path.parent, open_checkpoint(path.parent).info)
    return None


def _settings(folder: Path, data: bytes) -> object:
    workspace = Workspace(folder)
    placed(folder, "t2v.toml", data)
    found: list[object] = []
    for read in (
        lambda: values_for("train", workspace, {}, {}), lambda: values_for("generate", workspace, {}, {}, named="fast"),
        lambda: read_hosts(workspace), lambda: read_tui(workspace), lambda: read_prices(workspace.settings_file),
    ):  # fmt: skip
        try:
            found.append(read())
        except EngineError as error:
            found.append(str(error))
    return found


def _events(folder: Path, data: bytes) -> object:
    """As `t2v attach`, the screen of a run and its log read them."""
    path = placed(folder, "events.jsonl", data)
    fold, narrator = Fold(), PlainNarrator(StringIO())
    for event in read_events(path):
        fold.take(event)
        narrator.show(event)
        line_of(event).encode()
        assert isinstance(event, Event)
        event.to_line()
    return list(endings.last_events(folder))


def _job_folder(folder: Path, data: bytes) -> object:
    """The files of a job as the agent reads them: any of them may be this one."""
    (folder / "jobs/a/").mkdir(parents=True)
    for name in ("state.json", "exit.json", "request.json", "events.jsonl", "ended-by"):
        placed(folder, f"jobs/{name.partition('.')[0]}/{name}", data)
        placed(folder, f"jobs/all/{name}", data)
    found = [rows.fresh_row(job) for job in rows.job_directories(folder / "jobs")]
    found.append(rows.fresh_row(folder / "jobs/all"))
    for row in found:
        STATUS.read({"jobs": [json.loads(json.dumps({**row, "of": ""}))]}, "vm")
    return endings.end_of_its_own(
        folder / "jobs/all", 1, None, next(endings.last_events(folder / "jobs/all"), {}), None, None
    )


def _spec(folder: Path, data: bytes) -> object:
    return read_spec("train", placed(folder, "spec.json", data))


def _known_hosts(folder: Path, data: bytes) -> object:
    known = KnownHosts(placed(folder, "known_hosts", data))
    found = known.pinned("host"), known.revoked(), known.damage()
    known.pin("host", ["ssh-ed25519 AAAA"])
    return found


def _cloud(folder: Path, data: bytes) -> object:
    said = table_of(data)
    with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):  # as `token_of_gcloud` has it
        _token_in(data.decode(errors="replace"))
    with suppress(EngineError):
        _name_in(said)
    return vm_state(said, "project", 0.0)


def _store(folder: Path, data: bytes) -> object:
    """A split of latents: its manifest, and a shard whose header this is."""
    from t2v_core.data.store.folder import FolderHere
    from t2v_core.data.store.latents import _open_shards
    from t2v_core.data.store.shard_set import ShardSet, read_manifest
    from t2v_core.data.store.shards import Shard, TornShard

    placed(folder, "latents/manifest.json", data)
    shard = placed(folder, "latents/shard-00000.safetensors", len(data).to_bytes(8, "little") + data)
    with suppress(TornShard):
        Shard(shard)
    read_manifest(folder / "latents")
    try:
        _open_shards(FolderHere(folder / "latents"))
    finally:
        ShardSet(folder / "latents", {"frames": 8})
    return None


def _sidecar(folder: Path, data: bytes) -> object:
    path = placed(folder, "a.json", data)
    video = placed(folder, "a.mp4", b"")
    view = info_of_video(VideoView("a.mp4", 1, 0.0), beside.read_settings(path))
    return beside.find_settings(video), view


def _remembered(folder: Path, data: bytes) -> object:
    """What this workspace keeps of hosts, transfers and sessions, wherever it lies."""
    workspace = Workspace(folder)
    keeps = (
        ".t2v/workspace.json", ".t2v/prompts.json", ".t2v/tui/state.json", ".t2v/tui/there/host.json",
        ".t2v/spool/host/job-1/row.json", ".t2v/transfers/host/came.jsonl", ".t2v/transfers/host/uploaded.json",
        ".t2v/transfers/host/rate-down.json", ".t2v/cost/host.jsonl", ".t2v/trash/1/deleted.json", ".t2v/pushed.jsonl",
        ".t2v/first-workspace",
    )  # fmt: skip
    for name in keeps:
        placed(folder, name, data)
    known = ArrivedFiles(workspace, "host")
    placed(folder, str(known._offer_path(["."]).relative_to(folder)), data)
    if said := known.last_offer(["."]):
        read_offer(said, ["."], folds_case=False)
    known.uploaded_units(), known.uploaded_places(), known.bytes_per_s(), known._lines()
    placed(folder, ".cache/t2v/sha256.jsonl", data)
    with patch.dict(os.environ, HOME=str(folder)):
        list(sums.read_cache())
    gone = pushed.Pushed(folder, "me")
    gone.fitting("a"), gone.paths_of("code"), whose.first(folder)
    return (
        identity(workspace), prompts.read_prompts(workspace), memory.recall(workspace), trash.deleted(workspace),
        inventory.recall_there(workspace, "host"), known_rows(workspace, "host"),
        Ledger.of(workspace, "host").sessions(),
    )  # fmt: skip


def _guard(folder: Path, data: bytes) -> object:
    path = placed(folder, "rules.json", data)
    return guard_agreed.read(guard_files.said_in(path)), read_json(path), _holder(data)
