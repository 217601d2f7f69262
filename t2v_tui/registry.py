"""The screens there are: their names, keys and titles, and where each lies; imported when it is shown first."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t2v_tui.screens.bases.base import Cockpit


@dataclass(frozen=True)
class Entry:
    """One screen.

    key:    the digit or letter that shows it; none has no tab
    short:  the title for 80 columns
    target: `module:Class`
    """

    name: str
    key: str
    title: str
    short: str
    target: str


SCREENS: tuple[Entry, ...] = (
    Entry("welcome", "", "Welcome", "Welcome", "t2v_tui.screens.welcome:WelcomeScreen"),
    Entry("train", "1", "Train", "Train", "t2v_tui.screens.train:TrainScreen"),
    Entry("checkpoints", "2", "Checkpoints", "Ckpts", "t2v_tui.screens.checkpoints:CheckpointsScreen"),
    Entry("videos", "3", "Videos", "Videos", "t2v_tui.screens.videos:VideosScreen"),
    Entry("generate", "4", "Generate", "Gen", "t2v_tui.screens.generate:GenerateScreen"),
    Entry("vid2vid", "5", "Vid2Vid", "V2V", "t2v_tui.screens.vid2vid:Vid2VidScreen"),
    Entry("data", "6", "Data", "Data", "t2v_tui.screens.data:DataScreen"),
    Entry("jobs", "7", "Jobs", "Jobs", "t2v_tui.screens.jobs:JobsScreen"),
    Entry("vm", "8", "VM", "VM", "t2v_tui.screens.vm:VmScreen"),
    Entry("log", "9", "Log", "Log", "t2v_tui.screens.log:LogScreen"),
    Entry("compare", "C", "Runs", "Runs", "t2v_tui.screens.compare:CompareScreen"),
)


def entry_of(name: str) -> Entry | None:
    """Return the entry of a screen; None when there is no such screen."""
    return next((entry for entry in SCREENS if entry.name == name), None)


def load(entry: Entry) -> Cockpit:
    """Return the screen itself, imported now."""
    module, _, name = entry.target.partition(":")
    made: Cockpit = getattr(importlib.import_module(module), name)()
    return made
