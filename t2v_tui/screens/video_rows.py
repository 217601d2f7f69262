"""What a list says of each video: its row, its facts, by what it is sorted and narrowed."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text
from textual.content import Content

from t2v_core.format import ago, grouped, size
from t2v_tui.library.views import VideoView
from t2v_tui.screens.bases.listing_screen import MARK
from t2v_tui.store.order import Order

COLUMNS = (("   age", 6), ("where", 6), ("video", None))


def number_of(value: object) -> float | None:
    """Return a number as it stands in a .json; None for what is none."""
    try:
        return float(str(value))
    except ValueError:
        return None


ORDERS: Mapping[str, Order[VideoView]] = {
    "age": Order(lambda video: video.changed_t, largest_first=True),
    "prompt": Order(lambda video: video.title.lower()),
    "checkpoint": Order(lambda video: video.step, largest_first=True),
    "seed": Order(lambda video: number_of(video.settings.get("seed"))),
    "size": Order(lambda video: video.size_bytes, largest_first=True),
    "place": Order(lambda video: (not video.is_here, video.is_there)),
    "favourites": Order(lambda video: not video.is_favourite),
}


def said_of(video: VideoView) -> dict[str, str]:
    """Return what a filter looks in, by the names that it may ask for."""
    places = [word for word, is_so in (("here", video.is_here), ("host", video.is_there)) if is_so]
    return {
        "prompt": video.prompt, "name": video.path, "from": video.checkpoint, "place": " ".join(places),
        "is": "favourite" if video.is_favourite else "", "verb": video.verb,
        "seed": f"{video.settings.get('seed', '')}",
    }  # fmt: skip


def facts_of(video: VideoView) -> Content:
    """Return what it shows, what made it, what it is."""
    spec = video.settings
    named = [("seed", "seed"), ("steps", "steps"), ("guidance", "guidance_scale"), ("strength", "strength"),
             ("sampler", "sampler")]  # fmt: skip
    settings = [f"{word} {spec[name]:g}" if isinstance(spec[name], int | float) else f"{word} {spec[name]}"
                for word, name in named if spec.get(name) is not None]  # fmt: skip
    made_by = [video.checkpoint, f"step {grouped(video.step)}" if video.step is not None else ""]
    form = [
        f"{video.size[0]}×{video.size[1]}" if video.size else "",
        f"{video.frames} frames at {video.fps:g} fps" if video.frames and video.fps else "",
        size(video.size_bytes),
    ]
    lines = [" · ".join(filter(None, part)) for part in (settings, made_by, form)]
    refined = f"refined from {spec['input']}" if spec.get("input") else ""
    prompt = f"“{video.prompt}”" if video.prompt else "No .json beside it says how it was made."
    return Content.assemble(
        (f"{prompt}\n", "$foreground"), ("\n".join(filter(None, [*lines, refined, video.path])), "$text-muted")
    )


def row_of(video: VideoView, now_t: float, *, is_marked: bool) -> tuple[Text, ...]:
    """Return its cells, one for each of COLUMNS."""
    where = "● both" if video.is_here and video.is_there else "● here" if video.is_here else "○ host"
    style = "bold" if is_marked else "" if video.is_here else "dim"
    star = "★ " if video.is_favourite else ""
    title = Text(f"{MARK if is_marked else ''}{star}{video.title}", style=style, no_wrap=True, overflow="ellipsis")
    return Text(f"{ago(now_t - video.changed_t):>6}"), Text(where), title
