"""Which of two videos looked better, asked without telling which is which: `.t2v/votes.jsonl`, and what came of it.

What is compared is what differs between the videos: their checkpoint, their guidance, and so on.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from random import Random

from t2v_core.disk.files import describe_os_error
from t2v_core.disk.opening import open_file
from t2v_core.disk.plain_json import table
from t2v_core.disk.private import make_folder
from t2v_core.disk.typed_json import Misfit, read_as
from t2v_core.workspace import Workspace
from t2v_tui.library.views import VideoView

FIRST, SECOND, SAME = "first", "second", "same"
# What a video was made with, and the word for it.
COMPARED = (
    ("checkpoint", ""), ("steps", "steps"), ("guidance_scale", "guidance"), ("guidance_rescale", "rescale"),
    ("sampler", ""), ("weights", ""), ("lora", "lora"), ("strength", "strength"),
)  # fmt: skip
MOST_PAIRS = 200
# Of the interval, 95 %.
Z = 1.96


@dataclass(frozen=True)
class Pair:
    """Two videos of one prompt, in the order in which they are shown. first_is, second_is: what they are told by"""

    prompt: str
    first: VideoView
    second: VideoView
    first_is: str
    second_is: str


@dataclass(frozen=True)
class Vote:
    """One answer. first, second: paths, relative to the workspace; better: first, second or same; t: Unix seconds"""

    t: float
    prompt: str
    first: str
    second: str
    first_is: str
    second_is: str
    better: str


@dataclass(frozen=True)
class Standing:
    """How often one was better, worse and the same; low, high: 95 % interval of `share`, ties counted as halves."""

    name: str
    better: int
    worse: int
    same: int
    share: float
    low: float
    high: float


def names_of(videos: Sequence[VideoView]) -> dict[str, str]:
    """Return by path what tells each video from the others: `epoch 20, guidance 4`; nothing when nothing does."""
    values = {video.path: [_value(video, name, word) for name, word in COMPARED] for video in videos}
    differing = [at for at in range(len(COMPARED)) if len({of[at] for of in values.values()}) > 1]
    return (
        {path: ", ".join(filter(None, (of[at] for at in differing))) or "default" for path, of in values.items()}
        if (differing)
        else {}
    )


def _value(video: VideoView, name: str, word: str) -> str:
    value = video.checkpoint if name == "checkpoint" else video.settings.get(name)
    if value in (None, ""):
        return ""
    text = f"{value:g}" if isinstance(value, int | float) else str(value).rpartition("/")[2]
    return f"{word} {text}".strip()


def pairs_of(videos: Sequence[VideoView], random: Random) -> list[Pair]:
    """Return pairs of one prompt that differ, in a random order, each in a random order; of one seed where there are.

    200 at most.
    """
    names = names_of(videos)
    found = [pair for pair in combinations(videos, 2) if _may_meet(*pair, names)]
    of_one_seed = [pair for pair in found if pair[0].settings.get("seed") == pair[1].settings.get("seed")]
    chosen = of_one_seed or found
    random.shuffle(chosen)
    pairs = []
    for one, other in chosen[:MOST_PAIRS]:
        first, second = (one, other) if random.random() < 0.5 else (other, one)
        pairs.append(Pair(first.prompt, first, second, names[first.path], names[second.path]))
    return pairs


def _may_meet(one: VideoView, other: VideoView, names: dict[str, str]) -> bool:
    return bool(one.prompt) and one.prompt == other.prompt and names.get(one.path) != names.get(other.path)


def vote_on(pair: Pair, better: str, t: float) -> Vote:
    """Return an answer about a pair."""
    return Vote(t, pair.prompt, pair.first.path, pair.second.path, pair.first_is, pair.second_is, better)


def file_of(workspace: Workspace) -> Path:
    """Return where the answers are kept."""
    return workspace.root / ".t2v" / "votes.jsonl"


def keep_vote(workspace: Workspace, vote: Vote) -> None:
    """Add an answer to those that are kept. Raises EngineError when it cannot be written."""
    path = file_of(workspace)
    try:
        make_folder(path.parent)
        with path.open("ab") as file:
            file.write(json.dumps(asdict(vote), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise describe_os_error(error, path) from error


def read_votes(workspace: Workspace) -> list[Vote]:
    """Return all answers, the oldest first; a line that is torn, or no answer, is passed over."""
    found = []
    try:
        with open_file(file_of(workspace)) as file:
            for line in file:
                try:
                    found.append(read_as(Vote, table(line)))
                except (ValueError, Misfit):
                    continue
    except OSError:
        return found
    return found


def tally(votes: Iterable[Vote], names: Iterable[str]) -> list[Standing]:
    """Return how each of these stands against the others of them, the best first; those never asked about are left out.

    The interval is Wilson's, of the share of comparisons that it won.
    """
    among, better, worse, same = set(names), Counter[str](), Counter[str](), Counter[str]()
    for vote in votes:
        if not {vote.first_is, vote.second_is} <= among or vote.first_is == vote.second_is:
            continue
        if vote.better == SAME:
            same.update((vote.first_is, vote.second_is))
        elif vote.better in (FIRST, SECOND):
            won, lost = (vote.first_is, vote.second_is) if vote.better == FIRST else (vote.second_is, vote.first_is)
            better[won] += 1
            worse[lost] += 1
    found = [_standing(name, better[name], worse[name], same[name]) for name in among]
    return sorted((one for one in found if one is not None), key=lambda one: (-one.share, one.name))


def _standing(name: str, better: int, worse: int, same: int) -> Standing | None:
    count = better + worse + same
    if not count:
        return None
    share = (better + same / 2) / count
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return Standing(name, better, worse, same, share, max(0.0, middle - half), min(1.0, middle + half))


def tally_lines(standings: Sequence[Standing]) -> list[str]:
    """Return a line for each: `epoch 20   better 7 of 10   70 %   (40 to 89 %)`."""
    width = max((len(one.name) for one in standings), default=0)
    return [
        f"{one.name:<{width}}  better {one.better} of {one.better + one.worse + one.same}"
        f"{f', {one.same} the same' if one.same else ''}   {one.share:.0%}  ({one.low:.0%} to {one.high:.0%})"
        for one in standings
    ]
