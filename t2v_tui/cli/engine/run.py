"""One verb from flags to exit code: settings, spec, job, narration, result."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from remote.jobs.foreground import Exit, JobHandle, Run, create, forwarding_signals, run_here
from t2v_core.disk.plain_text import in_short
from t2v_core.errors import WorkFailed
from t2v_core.events import CheckpointEvent, DoneEvent, Event, ScoreEvent
from t2v_core.events.results import Result
from t2v_core.settings import values_for
from t2v_core.specs import make_spec
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine.scores import print_scores
from t2v_tui.cli.narrate import LogTail, Narrator, narrator

ASKED_WRONGLY, STOPPED, INTERRUPTED = 2, 4, 130
Known = TypeVar("Known", bound=Result)


def prepare(
    verb: str,
    workspace: Workspace,
    flags: Mapping[str, Any],
    flag_names: Mapping[str, str] | None = None,
    *,
    named: str | None = None,
) -> JobHandle:
    """Make the job for what was asked. Raises InvalidRequest in words of the flag, variable or file that is wrong."""
    values = values_for(verb, workspace, os.environ, flags, flag_names=flag_names, named=named)
    return create(workspace, verb, make_spec(verb, values))


@dataclass
class Followed:
    """What a run said, as far as what comes after it needs it.

    log: where its log lies, or the command that shows it
    host_words: how a path of the host it ran on is said here; None for one of this machine
    """

    log: str
    ended: Exit | None = None
    checkpoints: list[str] = field(default_factory=list)
    scores: list[ScoreEvent] = field(default_factory=list)
    result: DoneEvent | None = None
    host_words: Callable[[str], str] | None = None

    def paths(self, workspace: Workspace) -> list[object]:
        """Return what was asked for, as it can be used or copied from here."""
        if self.result is None:
            return []
        if self.host_words is not None:
            return [self.host_words(path) for path in self.result.asked_for()]
        return [*result_paths(self.result, workspace)]

    def result_as(self, kind: type[Known]) -> Known:
        """Return the result as that of a verb. Raises WorkFailed when it is none, as another version's may be."""
        if self.result is None or (result := kind.of(self.result.extra)) is None:
            raise WorkFailed("this t2v cannot read the result", hint="--json shows it unchanged")
        return result

    def as_json(self) -> str:
        """Return the result as `--json` prints it."""
        return json.dumps({} if self.result is None else self.result.plain(), ensure_ascii=False)

    @property
    def exit(self) -> Exit:
        """Return how it ended. Raises RuntimeError while it has not."""
        if self.ended is None:
            raise RuntimeError("the run has not ended")
        return self.ended

    def note(self, event: Event) -> None:
        """Keep a checkpoint, a score that is not passing, or the result."""
        match event:
            case CheckpointEvent(path):
                self.checkpoints.append(path)
            case ScoreEvent(step=None):
                self.scores.append(event)
            case DoneEvent():
                self.result = event


class Tell(Protocol):
    """Says the result of a run that is done."""

    def __call__(self, followed: Followed, workspace: Workspace, teller: Narrator, /, *, as_json: bool) -> None: ...


def follow(run: Run, teller: Narrator, *, is_verbose: bool = False) -> Followed:
    """Start the run, show what it says until it ends, and pass the terminal's signals on to it."""
    followed = Followed(str(run.job.log))
    noticed: list[signal.Signals] = []
    tail = LogTail(run.job.log)
    try:
        with forwarding_signals(run, lambda number: _notice(number, noticed)), run:
            run.start()
            for batch in run.batches():
                for line in tail.lines() if is_verbose else []:
                    teller.log(line)
                for event in batch:
                    show(event, followed, teller)
                while noticed:
                    teller.say(_acknowledge(noticed.pop(0), run.kill_was_asked))
            followed.ended = run.exit
    finally:
        teller.close()
    return followed


def show(event: Event, followed: Followed, teller: Narrator) -> None:
    """Note it, and show what is not told together with the others at the end, as scores are in their table."""
    followed.note(event)
    if not (isinstance(event, ScoreEvent) and event.step is None):
        teller.show(event)


def _notice(number: signal.Signals, noticed: list[signal.Signals]) -> None:
    if (
        number is signal.SIGHUP
    ):  # the terminal is gone: writing to it would fail, and the child must still be waited for
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
    noticed.append(number)


def _acknowledge(number: signal.Signals, is_killed: bool) -> str:
    if is_killed:
        return "ending at once"
    how = "; Ctrl-C again ends it at once" if number is signal.SIGINT else ""
    return f"stopping after this step{how}"


def run_verb(
    verb: str,
    flags: Mapping[str, Any],
    *,
    workspace: Workspace,
    flag_names: Mapping[str, str],
    as_json: bool,
    is_verbose: bool,
    tell: Tell | None = None,
    named: str | None = None,
    teller: Narrator | None = None,
) -> int:
    """Do one verb here, and say on stderr how it went and on stdout where the result lies.

    tell: how to say the result, where it is more than paths and figures
    named: which named settings of t2v.toml count
    teller: who says how it goes, where it is not the usual one
    """
    job = prepare(verb, workspace, flags, flag_names, named=named)
    teller = teller or narrator()
    if is_verbose:
        teller.say(f"job {job.directory}", "dim")
    followed = follow(run_here(job), teller, is_verbose=is_verbose)
    if followed.exit.code:
        tell_failure(followed, teller, command_to_go_on(verb, sys.argv[1:], followed.checkpoints))
    elif followed.result is not None:
        (tell or tell_result)(followed, workspace, teller, as_json=as_json)
    return followed.exit.code


def tell_result(followed: Followed, workspace: Workspace, teller: Narrator, *, as_json: bool) -> None:
    """Write figures to stderr; paths, or everything as JSON, to stdout."""
    if followed.scores:
        print_scores(followed.scores)
    said = {} if followed.result is None else followed.result.plain()
    figures = [f"{key.replace('_', ' ')} {value}" for key, value in said.items() if isinstance(value, int | float)]
    teller.say("done: " + ", ".join(figures) if figures else "done", "green")
    if as_json:
        print(followed.as_json())
    else:
        for path in followed.paths(workspace):
            print(path)
    sys.stdout.flush()


def named_paths(result: DoneEvent, workspace: Workspace) -> list[Path]:
    """Return what was asked for: the paths of a result, absolute."""
    return [workspace.resolve(Path(item)) for item in result.asked_for()]


def result_paths(result: DoneEvent, workspace: Workspace) -> list[Path]:
    """Return the same as they can be used from the current folder."""
    here = Path.cwd()
    return [path.relative_to(here) if path.is_relative_to(here) else path for path in named_paths(result, workspace)]


def tell_failure(followed: Followed, teller: Narrator, go_on: str) -> None:
    """Say what failed, a next step, and where the log lies; for a stop, what is kept and how to go on."""
    ended = followed.exit
    if ended.code in (INTERRUPTED, STOPPED):
        teller.say(ended.reason)
        if followed.checkpoints:
            teller.say(f"kept:    {followed.checkpoints[-1]}")
        if go_on:
            teller.say(f"go on:   {go_on}")
        return
    teller.say(in_short(f"error: {ended.reason}"), "red")
    if ended.hint:
        teller.say(in_short(f"hint:  {ended.hint}"))
    if ended.code != ASKED_WRONGLY:
        teller.say(f"log:   {followed.log}")


def command_to_go_on(verb: str, arguments: Sequence[str], checkpoints: Sequence[str]) -> str:
    """Return the same command again; training goes on from its last checkpoint, if there is one."""
    if verb == "train" and checkpoints:
        arguments = [argument for argument in arguments if argument not in ("--resume", "--no-resume")]
        arguments = [*arguments, "--resume"]
    return shlex.join(["t2v", *arguments])
