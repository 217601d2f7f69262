"""What a report says of one training, gathered from this workspace: nothing is asked of a host."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remote.cost.ledger import Session
from t2v_core.disk.opening import read_bytes
from t2v_core.disk.plain_json import read_table
from t2v_core.errors import EngineError
from t2v_core.format import counted, size
from t2v_core.workspace import Workspace
from t2v_tui.library.data_sets import data_set_here
from t2v_tui.library.runs.board import Scored, events_of, sessions_of
from t2v_tui.library.runs.measured import Measured
from t2v_tui.library.runs.story import Story, story_of
from t2v_tui.report.samples import Samples, samples_of
from t2v_tui.store.runs import RunRow
from t2v_tui.store.state import LOCAL

MOST_SHEET_BYTES, MOST_TEXT_BYTES = 1_500_000, 100_000


@dataclass(frozen=True)
class DataReport:
    """rows: in words; text: of `t2v data check`; sheet: its picture, JPEG in base64"""

    rows: tuple[tuple[str, str], ...] = ()
    text: str = ""
    sheet: str = ""


@dataclass(frozen=True)
class RunReport:
    """One training.

    settings: with defaults, empty where they are not here; asked: those that somebody set
    scored:   evaluations of its checkpoints, oldest first
    sessions: of its machine, as far as they were seen; trainer: what its last checkpoint here says of how it was made
    """

    row: RunRow
    measured: Measured
    story: Story
    settings: Mapping[str, Any]
    asked: frozenset[str]
    scored: tuple[Scored, ...]
    samples: Samples
    data: DataReport
    sessions: tuple[Session, ...]
    trainer: Mapping[str, Any]


def gathered(
    workspace: Workspace,
    row: RunRow,
    measured: Measured,
    *,
    settings: Mapping[str, Any],
    asked: Mapping[str, Any],
    scored: Sequence[Scored],
    most_video_bytes: int,
) -> RunReport:
    """Read what there is of a run beside what `t2v runs` knows."""
    story = story_of(events_of(workspace, row.key))
    return RunReport(
        row,
        measured,
        story,
        settings,
        frozenset(asked),
        tuple(scored),
        samples_of(workspace, row.key.job, story.samples, most_video_bytes),
        _data(workspace, row, str(settings.get("data", ""))),
        _while_it_ran(sessions_of(workspace, row.key.host), measured),
        _trainer(workspace, row, measured),
    )


def _while_it_ran(sessions: Sequence[Session], measured: Measured) -> tuple[Session, ...]:
    return tuple(one for one in sessions if one.hours(measured.began_t, measured.seen_t) > 0)


def _trainer(workspace: Workspace, row: RunRow, measured: Measured) -> Mapping[str, Any]:
    """Of the newest of its checkpoints that is here and is its own: another run may have written over it."""
    for _, _, path in reversed(measured.checkpoints):
        place = path[path.find("checkpoints/") :] if "/checkpoints/" in path else path
        try:
            said = read_table(workspace.root / place / "trainer.json")
        except (OSError, ValueError):
            continue
        if said.get("job") == row.key.job:
            return said
    return {}


def _data(workspace: Workspace, row: RunRow, path: str) -> DataReport:
    if not path or row.key.host != LOCAL:
        return DataReport()
    root = workspace.resolve(Path(path))
    view = data_set_here(workspace, root)
    rows = [("clips", f"{view.clips:,}"), ("captions", ", ".join(view.captions))]
    rows += [
        (f"prepared, {part.split}", f"{'' if part.clips is None else f'{part.clips:,} clips, '}{size(part.size_bytes)}")
        for part in view.latents
    ]
    reasons = Counter(one.reason for one in view.set_aside)
    if reasons:
        told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        rows.append(("set aside", f"{counted(len(view.set_aside), 'clip')}: {told}"))
    check = root / "check"
    text = _bytes(check / "report.txt", MOST_TEXT_BYTES).decode(errors="replace")
    sheet = _bytes(check / "contact_sheet.jpg", MOST_SHEET_BYTES)
    is_picture = sheet.startswith(b"\xff\xd8")
    return DataReport(
        tuple((name, value) for name, value in rows if value),
        text,
        base64.b64encode(sheet).decode() if is_picture else "",
    )


def _bytes(path: Path, most: int) -> bytes:
    """Nothing of a file that is not there, is none or is too large."""
    try:
        return read_bytes(path, most)
    except (OSError, ValueError, EngineError):
        return b""
