"""What is asked before results go, with what is to be known of each: how large it is, and what else there is of it."""

from __future__ import annotations

from collections.abc import Sequence

from t2v_core.format import grouped, size
from t2v_tui.library.views import PREVIOUS, CheckpointPair, CheckpointView, VideoView
from t2v_tui.store.state import LOCAL
from t2v_tui.text.confirmations import Question

# Of several that go together.
MOST_NAMED = 5


def way_back(host: str, size_bytes: int, count: int = 1) -> str:
    """Return what a delete of so many means in that place, for the question before it."""
    it, goes = ("it", "It goes") if count == 1 else ("them", "They go")
    if host != LOCAL:
        return f"{host} has no trash: {'it' if count == 1 else 'they'} cannot be brought back."
    freed = f"{'its' if count == 1 else 'their'} {size(size_bytes)} is freed after that, or by t2v trash --empty."
    return f"{goes} into the trash: Z brings {it} back within 24 h; {freed}"


def things(paths: Sequence[str]) -> list[str]:
    """Return the paths without what only lies beside another: the .json of a video."""
    return [path for path in paths if not path.endswith(".json")] or list(paths)


def with_beside(video: VideoView) -> list[str]:
    """Return the paths of a video and of the .json beside it."""
    return [video.path, video.beside] if video.beside else [video.path]


def question_of_videos(videos: Sequence[VideoView], host: str) -> Question:
    """Return the question before videos go: which, from where, and whether they can come back."""
    here, there = ([video for video in videos if video.is_here is is_here] for is_here in (True, False))
    lone = [video for video in videos if not (video.is_here and video.is_there)]
    if len(videos) == 1:
        video = videos[0]
        copies = "This is the ONLY COPY." if lone else f"A copy stays on {host}."
        where = LOCAL if here else host
        star = "★ a favourite, " if video.is_favourite else ""
        lines = (video.title, f"{star}{size(video.size_bytes)}", copies, way_back(where, video.size_bytes))
        return Question(f"Delete {video.name} {'here' if here else f'on {host}'}?", lines, "Delete", "y")
    liked = sum(video.is_favourite for video in videos)
    names = [video.title for video in videos[:MOST_NAMED]]
    names += [f"and {len(videos) - MOST_NAMED} more"] if videos[MOST_NAMED:] else []
    only = f"Of {len(lone)} of them this is the ONLY COPY." if lone else f"Copies stay on {host}."
    groups = [(place, group) for place, group in ((LOCAL, here), (host, there)) if group]
    backs = [f"{_where(place, len(group))}: {way_back(place, _total(group), len(group))}" for place, group in groups]
    total = f"{size(_total(videos))} in all"
    stars = [f"★ {liked} of them {'is a favourite' if liked == 1 else 'are favourites'}."] if liked else []
    return Question(f"Delete {len(videos)} videos?", (*names, total, *stars, only, *backs), "Delete", "y")


def _where(host: str, count: int) -> str:
    return f"{count} here" if host == LOCAL else f"{count} on {host}"


def _total(videos: Sequence[VideoView]) -> int:
    return sum(video.size_bytes for video in videos)


def question_of_checkpoints(views: Sequence[tuple[CheckpointPair, CheckpointView]], host: str) -> Question:
    """Return the question before checkpoints go, with what is to be known. views: each with its copy that goes"""
    is_here = host == LOCAL
    where = "here" if is_here else f"on {host}"
    total = sum(view.size_bytes for _, view in views)
    back = way_back(host, total, len(views))
    if len(views) == 1:
        pair, view = views[0]
        about = (f"{_kind(view)}{size(total)}", copies_of(pair, view, is_here=is_here), back)
        return Question(f"Delete {pair.name} {where}?", about, "Delete", "y")
    names = [f"{pair.name}: {_kind(view)}{copies_of(pair, view, is_here=is_here)}" for pair, view in views[:MOST_NAMED]]
    names += [f"and {len(views) - MOST_NAMED} more"] if views[MOST_NAMED:] else []
    lone = sum(pair.is_only_copy(here=is_here) for pair, _ in views)
    only = f"Of {lone} of them this is the ONLY COPY." if lone else ""
    lines = tuple(filter(None, (*names, only, f"{size(total)} in all", back)))
    return Question(f"Delete {len(views)} checkpoints {where}?", lines, "Delete", "y")


def _kind(view: CheckpointView) -> str:
    if view.is_old:
        return f"epoch {view.epoch} of the {PREVIOUS}, " if view.epoch is not None else f"of the {PREVIOUS}, "
    return f"step {grouped(view.step)}, " if view.step is not None else ""


def copies_of(pair: CheckpointPair, view: CheckpointView, *, is_here: bool) -> str:
    """Return what else there is of a checkpoint that is to go."""
    if not view.is_complete:
        return "It is not complete and cannot be trained or generated from."
    if pair.is_only_copy(here=is_here):
        return "This is the ONLY COPY."
    return f"The same checkpoint stays {'on the host' if is_here else 'here'}."
