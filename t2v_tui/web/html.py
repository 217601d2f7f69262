"""The page's own pieces of HTML. Whatever comes from people, files or hosts is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from t2v_tui.library.views import VideoView, checkpoint_asked
from t2v_tui.web.work import View

ROUTE = "/videos"
# What a person would set again; the rest of the .json is in the file beside the video.
SHOWN_SETTINGS = ("steps", "strength", "guidance_scale", "seed", "sampler", "frames", "checkpoint", "input")
STYLE = """
.t2v video, .t2v img { width: 100%; max-height: 60vh; object-fit: contain; background: #0b0f19; border-radius: 8px;
  image-rendering: auto; }
.t2v img.preview { image-rendering: pixelated; }
.t2v progress { width: 100%; }
.t2v .words { min-height: 1.6em; }
.t2v .failed { color: #b91c1c; font-weight: 600; }
.t2v .note { color: #b45309; }
.t2v .place { display: grid; place-items: center; min-height: 10rem; border: 1px dashed currentColor;
  border-radius: 8px; opacity: .6; padding: 1rem; text-align: center; }
.t2v .gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
.t2v figure { margin: 0; }
.t2v dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .8rem; margin: .3rem 0; font-size: .85rem; }
.t2v dd { margin: 0; overflow-wrap: anywhere; }
"""


def url_of(path: str) -> str:
    """Return where the page serves a video of the workspace."""
    return f"{ROUTE}/{quote(path)}"


def player(path: str, label: str, *, is_lazy: bool = False) -> str:
    """Return a muted, looping player; a lazy one loads only metadata and waits to be started."""
    how = 'preload="metadata"' if is_lazy else "autoplay"
    named = f'src="{escape(url_of(path))}" aria-label="{escape(label)}"'
    return f"<video {named} controls loop muted playsinline {how}></video>"


def place_for(words: str) -> str:
    """Return what stands where a video will be."""
    return f'<div class="t2v"><div class="place">{escape(words)}</div></div>'


def stage(view: View, label: str) -> str:
    """Return the video when it is made, else what it looks like so far."""
    if view.state == "done" and view.path:
        return f'<div class="t2v">{player(view.path, label)}</div>'
    if view.preview:
        data = base64.b64encode(view.preview).decode()
        return f'<div class="t2v"><img class="preview" alt="preview" src="data:image/png;base64,{data}"></div>'
    return place_for("nothing was made" if view.has_ended else "a preview comes with the first steps")


def progress_of(view: View) -> str:
    """Return one line, how far it is, and what there is to say beside it."""
    kind = "failed" if view.state == "failed" else "words"
    words = [f'<div class="{kind}" role="status" data-state="{view.state}">{escape(view.words)}</div>']
    if view.hint:
        words.append(f"<div>{escape(view.hint)}</div>")
    if view.state == "working" and view.total:
        words.append(f'<progress value="{view.done}" max="{view.total}"></progress>')
    words += [f'<div class="note">{escape(note)}</div>' for note in view.notes]
    if view.path:
        words.append(f"<div>{escape(view.path)}</div>")
    elif view.job and view.state == "failed":
        words.append(f"<div>its log: t2v logs {escape(view.job)}</div>")
    return f'<div class="t2v">{"".join(words)}</div>'


def refusal(message: str, hint: str) -> str:
    """Return a failed status, for what could not even be asked."""
    return progress_of(View("failed", message, hint=hint))


def gallery(videos: Sequence[VideoView], total: int) -> str:
    """Return the newest videos, each with the settings that made it."""
    if not videos:
        return place_for("no video yet: the first one from Generate appears here")
    figures = "".join(map(_figure, videos))
    more = f"<p>the newest {len(videos)} of {total}</p>" if total > len(videos) else ""
    return f'<div class="t2v"><div class="gallery">{figures}</div>{more}</div>'


def _figure(video: VideoView) -> str:
    settings = dict(video.settings)
    if settings.get("checkpoint"):
        settings["checkpoint"] = checkpoint_asked(str(settings["checkpoint"]))
    rows = [(name.replace("_", " "), settings.get(name)) for name in SHOWN_SETTINGS]
    if video.size is not None:
        rows.append(("video", f"{video.frames} frames of {video.size[0]}×{video.size[1]}, {video.fps or 0:g} fps"))
    listed = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in rows if value is not None
    )
    made = f"<dl>{listed}</dl>" if listed else "<p>no .json beside it says how it was made</p>"
    title = escape(video.title)
    head = f"{escape(video.verb)} · " if video.verb else ""
    media = player(video.path, video.title, is_lazy=True)
    if not video.path.endswith(".mp4"):
        media = f'<img src="{escape(url_of(video.path))}" alt="{title}" loading="lazy">'
    return f"<figure>{media}<figcaption>{head}<b>{title}</b>{made}</figcaption></figure>"
