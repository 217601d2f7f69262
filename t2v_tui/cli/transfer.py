"""`t2v pull` and `t2v push`: files come home verified, and go there; planned first, gone on with when interrupted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from remote.host_factory import host_named
from remote.hosts.settings import LOCAL, read_hosts
from remote.jobs.client import HostJobs
from remote.transfer.links.bulk_host import WINDOW_BYTES
from remote.transfer.plan.pull_plan import WORDS, ItemStatus, Plan, plan_pull
from remote.transfer.progress import Phase, TransferProgress
from t2v_core.errors import InvalidRequest
from t2v_core.events import ProgressEvent
from t2v_core.format import duration, rate, scale, size, usd
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine.run import INTERRUPTED
from t2v_tui.cli.main import Common
from t2v_tui.cli.narrate import Narrator, narrator
from t2v_tui.find_workspace import find_workspace

EVERYTHING = ("checkpoints", "videos", "logs")
WATCHED = ("checkpoints", "videos")
HostOption = Annotated[
    str | None,
    typer.Option(
        "--host", metavar="NAME", help="Host of t2v.toml; may be left out when there is only one.", show_default=False
    ),
]
WhatArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="WHAT...", help="checkpoints, a checkpoint's name, videos, logs, or paths of the workspace there."
    ),
]
LatestOption = Annotated[bool, typer.Option("--latest", help="Only the newest checkpoint.")]
AllOption = Annotated[bool, typer.Option("--all", help="Checkpoints, videos and logs.")]
WatchOption = Annotated[bool, typer.Option("--watch", help="Keep fetching what is new until no more jobs run there.")]
ReplaceHereOption = Annotated[
    bool, typer.Option("--replace", help="Also overwrite files here of the same name that did not come from there.")
]
AnyonesOption = Annotated[
    bool, typer.Option("--anyones", help="Also fetch what another workspace made in the same folder on the host.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be moved, without moving anything.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the result to stdout as JSON.")]


if TYPE_CHECKING:
    from remote.transfer.plan.push_plan import PushPlan


@dataclass
class Outcome:
    """What a command has moved, and what it would not.

    refused: sentences; each makes the exit code 1
    """

    paths: list[str] = field(default_factory=list)
    moved_bytes: int = 0
    began: float = field(default_factory=time.monotonic)
    refused: list[str] = field(default_factory=list)
    unchanged: int = 0


def pull(
    ctx: typer.Context,
    what: WhatArgument = None,
    host: HostOption = None,
    is_latest: LatestOption = False,
    is_all: AllOption = False,
    is_watching: WatchOption = False,
    is_dry: DryRun = False,
    is_replacing: ReplaceHereOption = False,
    is_anyones: AnyonesOption = False,
    as_json: JsonOption = False,
) -> int:
    """Fetch files from a host: verified, then renamed. Only finished ones; what is here already is not sent.

    If interrupted at any point, the same command continues where it stopped.

    \b
    Examples:
      t2v pull checkpoints --latest
      t2v pull checkpoint_epoch_100.pt
      t2v pull videos --host a100-golden
      t2v pull data/msr-vtt/annotations --dry-run
      t2v pull --watch

    The paths that arrived go to stdout. Exit code 1 when something was refused; 130 after Ctrl-C, and then what arrived
    is kept; 3 when the host cannot be reached.
    """
    words = list(what or (EVERYTHING if is_all else WATCHED if is_watching else ()))
    if not words:
        raise InvalidRequest("what should be pulled?", hint="t2v pull checkpoints, videos, logs, a path, or --all")
    if is_watching:
        work = partial(_watch, words=words, is_latest=is_latest)
    else:
        work = partial(
            _pull, words=words, is_latest=is_latest, is_dry=is_dry, is_replacing=is_replacing, is_anyones=is_anyones
        )
    return _carried_out(work, ctx.obj, host, kept="came", as_json=as_json)


def push(
    ctx: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(metavar="WHAT...", help="code (what git lists), data, videos, or paths of this workspace."),
    ],
    host: HostOption = None,
    is_dry: DryRun = False,
    is_replacing: Annotated[
        bool, typer.Option("--replace", help="Also overwrite what was not pushed, or was edited there.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Send files of this workspace to the same places on a host: verified, then renamed.

    `code` is what git lists, with the lock file, and nothing that git ignores. Nothing is overwritten or removed there
    that was not pushed before.

    \b
    Examples:
      t2v push code --dry-run
      t2v push data --host a100-golden
      t2v push outputs/draft.mp4

    The paths that were sent go to stdout. Exit code 1 when something was refused; 130 after Ctrl-C, and then what
    arrived is kept; 3 when the host cannot be reached.
    """
    work = partial(_push, what=what, is_dry=is_dry, is_replacing=is_replacing)
    return _carried_out(work, ctx.obj, host, kept="arrived", as_json=as_json)


def _carried_out(
    work: Callable[[HostJobs, Narrator, Outcome], None], common: Common, host: str | None, *, kept: str, as_json: bool
) -> int:
    """Connect, do it, say what became of it; returns the exit code. kept: what an interruption leaves, as a verb"""
    workspace = find_workspace(common.workspace, os.environ)
    teller, outcome = narrator(), Outcome()
    with HostJobs(host_named(which_host(host, workspace), workspace).twin(WINDOW_BYTES), workspace) as jobs:
        jobs.connect_soon()
        try:
            work(jobs, teller, outcome)
        except KeyboardInterrupt:
            teller.close()
            teller.say(f"interrupted: what {kept} is kept; the same command continues where it stopped", "yellow")
            return INTERRUPTED
        finally:
            teller.close()
    return told(outcome, workspace, teller, as_json=as_json or common.as_json)


def which_host(name: str | None, workspace: Workspace) -> str:
    """Return the host that is meant. Raises InvalidRequest when none was named and there is not exactly one."""
    if name == LOCAL:
        raise InvalidRequest("this machine has the files already", hint="--host NAME, of t2v.toml")
    hosts = list(read_hosts(workspace))
    if name is None and len(hosts) != 1:
        sentence = f"which host: {', '.join(hosts)}?" if hosts else f"{workspace.settings_file} names no host"
        raise InvalidRequest(
            sentence, hint="--host NAME" if hosts else 'add to t2v.toml: [host.NAME] and address = "…"'
        )
    return name or hosts[0]


def _pull(
    jobs: HostJobs, teller: Narrator, outcome: Outcome, *,
    words: Sequence[str], is_latest: bool, is_dry: bool, is_replacing: bool, is_anyones: bool,
) -> None:  # fmt: skip
    files = [word for word in words if word != "logs"]
    if files:
        plan = plan_pull(jobs, files, is_latest=is_latest, is_replacing=is_replacing, is_anyones=is_anyones)
        tell_plan(plan, teller, outcome)
        if is_dry:
            outcome.paths += [str(item.path) for item in plan.needed]
        elif plan.needed:
            from remote.transfer.pull import Pulling  # mostly there is nothing to do

            _follow(Pulling(jobs, plan), teller, outcome)
    if "logs" in words:
        from remote.transfer.logs_home import PullingLogs

        logs = PullingLogs(jobs)
        teller.say(f"logs of {len(logs.rows)} jobs: {size(logs.to_send)}", "dim")
        if not is_dry and logs.rows:
            _follow(logs, teller, outcome)


def _watch(jobs: HostJobs, teller: Narrator, outcome: Outcome, *, words: Sequence[str], is_latest: bool) -> None:
    from remote.transfer.watching import Watching

    files = [word for word in words if word != "logs"]
    teller.say(f"watching {', '.join(files)} of {jobs.host.name} until no job runs there; Ctrl-C leaves it", "dim")
    _follow(Watching(jobs, files, is_latest=is_latest), teller, outcome)


def _push(
    jobs: HostJobs, teller: Narrator, outcome: Outcome, *, what: Sequence[str], is_dry: bool, is_replacing: bool
) -> None:
    from remote.transfer.plan.push_plan import plan_push
    from remote.transfer.push import Pushing

    plan = plan_push(jobs, what, is_replacing=is_replacing)
    tell_push_plan(plan, teller, outcome)
    if is_dry:
        outcome.paths += [file.path for file, _ in plan.needed]
    elif plan.needed or plan.gone:
        _follow(Pushing(jobs, plan), teller, outcome)


def _follow(moving: Moving, teller: Narrator, outcome: Outcome) -> None:
    """Show how it stands until it ends; Ctrl-C ends it."""
    done, waits_for = 0, ""
    try:
        for row in moving:
            done = max(done, row.done_bytes)
            match row.phase:
                case Phase.LANDED:
                    outcome.paths.append(row.path)
                case Phase.NOTE:
                    teller.say(row.note, "yellow")
                case Phase.WAITING if row.note != waits_for:
                    waits_for = row.note
                    teller.say(row.note, "dim")
                case Phase.MOVING:
                    teller.show(bar(row))
    finally:
        moving.close()
        outcome.moved_bytes += done


def bar(row: TransferProgress) -> ProgressEvent:
    """Return a row as the narrators show progress."""
    amount, unit = scale(row.total_bytes)
    done, total = (round(number / amount, 1) for number in (row.done_bytes, row.total_bytes))
    return ProgressEvent(min(done, total), total, unit)


def tell_plan(plan: Plan, teller: Narrator, outcome: Outcome) -> None:
    """Say what would come, how long it takes, what it costs; and what will not."""
    here = [item for item in plan.items if item.standing is ItemStatus.HERE]
    outcome.unchanged += len(here)
    for path, why in plan.passed_over:
        teller.say(f"skipped: {path}: {why}", "dim")
    outcome.refused += [sentence for _, sentence in plan.unsafe]
    for path in plan.absent:
        if path in WORDS.values():  # a workspace that is new has none yet
            teller.say(f"there are no {path} on {plan.host} yet", "dim")
        else:
            outcome.refused.append(f"there is no {path} on {plan.host}")
    for item in plan.items:
        if item.standing is ItemStatus.OTHER:
            outcome.refused.append(f"{item.path} is here already and did not come from {plan.host}: see --replace")
    parts = [f"{len(plan.needed)} to fetch, {size(plan.to_send)}", f"{len(here)} here already"]
    if plan.copied:
        parts.insert(1, f"{size(plan.copied)} here under other names")
    if plan.needed:
        parts += [f"about {duration(plan.seconds)}"] if plan.seconds is not None else []
        parts += [f"egress {usd(plan.usd)} est."] if plan.usd is not None else []
        parts += [f"{size(plan.free_bytes)} free here" if plan.fits else f"only {size(plan.free_bytes)} free here"]
    teller.say(f"{plan.host}: " + " · ".join(parts), "bold")


def tell_push_plan(plan: PushPlan, teller: Narrator, outcome: Outcome) -> None:
    """Say the same for what would go."""
    outcome.unchanged += plan.total_files - len(plan.needed) - len(plan.refused)
    for path, why in plan.passed_over:
        teller.say(f"skipped: {path}: {why}", "dim")
    outcome.refused += [f"{path} on {plan.host} is left alone: {why}; see --replace" for path, why in plan.refused]
    if plan.is_shared:
        own = f"a workdir of its own in [host.{plan.host}] keeps the two apart"
        teller.say(
            f"another workspace shares this folder of {plan.host}: {own}; --replace takes its files over", "yellow"
        )
    parts = [f"{len(plan.needed)} of {plan.total_files} files to send, {size(plan.to_send)}"]
    parts += [f"{size(plan.to_copy)} there under other names"] if plan.copies else []
    parts += [f"{len(plan.gone)} to remove there: pushed earlier, deleted here"] if plan.gone else []
    parts += [f"about {duration(plan.seconds)}"] if plan.needed and plan.seconds is not None else []
    teller.say(f"{plan.host}: " + " · ".join(parts), "bold")


def told(outcome: Outcome, workspace: Workspace, teller: Narrator, *, as_json: bool) -> int:
    """Say how a command ended: refusals and a line to stderr, the paths to stdout; returns the exit code."""
    seconds = time.monotonic() - outcome.began
    for sentence in outcome.refused:
        teller.say(f"refused: {sentence}", "red")
    if outcome.moved_bytes:
        speed = rate(outcome.moved_bytes / max(seconds, 1e-3))
        teller.say(f"done: {size(outcome.moved_bytes)} in {duration(seconds)}, {speed}", "green")
    if as_json:
        said = {"paths": outcome.paths, "bytes": outcome.moved_bytes, "seconds": round(seconds, 3)}
        print(json.dumps(said | {"unchanged": outcome.unchanged, "refused": outcome.refused}, ensure_ascii=False))
    else:
        for path in outcome.paths:
            print(workspace.root / path)
    return 1 if outcome.refused else 0


class Moving(Protocol):
    """A transfer under way."""

    def __iter__(self) -> Iterator[TransferProgress]: ...

    def close(self) -> None:
        """End the transfer."""
        ...
