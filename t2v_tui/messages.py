"""What screens ask of the app, and how what was heard in another thread reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textual.message import Message

from t2v_tui.store.events import News
from t2v_tui.store.state import JobKey


@dataclass
class EventReceived(Message):
    """A worker's one message: something happened. The app reduces it into the state."""

    news: News


@dataclass
class GoTo(Message):
    """Show another screen. arrival: handed to its `arrive`, as a video to refine."""

    screen: str
    arrival: Any = None


@dataclass
class StartWork(Message):
    """Start one verb as a job on a host, through the same steps as a training, which this screen shows.

    values: settings that were chosen, as `t2v_core.specs` names them; t2v.toml fills in what is left out
    host:   default: the chosen one
    sends:  a video of this machine that goes there first, and is the job's input
    """

    verb: str
    values: Mapping[str, Any] = field(default_factory=dict)
    host: str | None = None
    sends: Path | None = None


@dataclass
class StopWork(Message):
    """Stop a job, after asking."""

    job: JobKey


@dataclass
class ShowJob(Message):
    """Make a job the one that Train and Log show, and follow it."""

    job: JobKey


@dataclass
class FollowJob(Message):
    """Follow a job to its end without showing it: its events come into `state.runs`."""

    job: JobKey


@dataclass
class Failed(Message):
    """Something that was asked could not be done: a sentence and a next step, shown as a notice."""

    message: str
    hint: str = ""


@dataclass
class CommandRan(Message):
    """A key did what this `t2v …` line does."""

    line: str


@dataclass
class Notice(Message):
    """Something was done that cannot be seen otherwise."""

    text: str
