"""Checkpoints here and on the host side by side: what each is, and the videos made from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content

from t2v_core.format import grouped, size
from t2v_tui.keys import bindings_for
from t2v_tui.library.removing import question_of_checkpoints
from t2v_tui.library.views import (
    CheckpointPair,
    CheckpointView,
    VideoView,
    both_places,
    newest_first,
    shown_name,
    side_by_side,
)
from t2v_tui.messages import Failed, GoTo
from t2v_tui.screens.bases.library_screen import LibraryScreen
from t2v_tui.screens.bases.listing_screen import MARK, MarkingScreen, some
from t2v_tui.store.order import Order
from t2v_tui.store.state import LOCAL, State
from t2v_tui.text.headline import is_off
from t2v_tui.widgets.chrome import Block
from t2v_tui.widgets.entry_line import EntryLine
from t2v_tui.widgets.lists import ListTable, MadeOf
from t2v_tui.widgets.pane import Pane, Words
from t2v_tui.widgets.rows import RowList
from t2v_tui.widgets.transfers import Transfers
from t2v_tui.widgets.video.player import Player

COLUMNS = (
    ("checkpoint", 12), ("   step", 7), ("  loss", 6), ("   size", 7), ("here", 9), ("on host", 9), ("vids", 4),
    (" score", 6),
)  # fmt: skip
# The first that is known stands in the table; all of them below it.
SCORES = ("all_obeyed_seen", "all_obeyed_unseen", "clip_generated")
NOTHING = """No checkpoint yet, here or on a host.

t   starts training; it writes one every few epochs
4   generates with the model that is shipped, right away"""
NOT_ASKED, UNREACHABLE, OFF = "◌ asking", "◐ unheard", "○ off"


def main_value(pair: CheckpointPair) -> float | None:
    """Return the score that stands in the table, by which it can be sorted; None when none is known."""
    return dict(pair.scores).get(main_name(pair))


def main_name(pair: CheckpointPair) -> str:
    """Return which score that is; empty when none is known."""
    scores = dict(pair.scores)
    return next((name for name in SCORES if name in scores), "")


def main_score(pair: CheckpointPair) -> str:
    """Return `93%` of prompts obeyed, or the CLIP score; a dash when neither is known."""
    value = main_value(pair)
    if value is None:
        return "–"
    return f"{value:.0%}" if "obeyed" in main_name(pair) else f"{value:.3f}"


ORDERS: Mapping[str, Order[CheckpointPair]] = {
    "step": Order(newest_first),
    "name": Order(lambda pair: pair.name),
    "loss": Order(lambda pair: pair.any.loss),
    "size": Order(lambda pair: pair.any.size_bytes, largest_first=True),
    "score": Order(main_value, largest_first=True),
    "place": Order(lambda pair: (pair.here is None, pair.there is None)),
}


class CheckpointsScreen(MarkingScreen, LibraryScreen):
    NAME = "checkpoints"
    ITEMS = "checkpoints"
    ORDERS = ORDERS
    CSS_PATH = "checkpoints.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("checkpoints")]

    def __init__(self) -> None:
        super().__init__()
        self.pairs: tuple[CheckpointPair, ...] = ()
        self.rows: list[CheckpointPair] = []
        self.videos: dict[str, VideoView] = {}
        self._sample = 0
        self._made_of = MadeOf()

    def body(self) -> ComposeResult:
        """Lay out the list of checkpoints beside the videos made from the chosen one."""
        with Horizontal():
            with Pane(id="list"):
                yield ListTable(COLUMNS, id="checkpoints")
                yield Block(id="nothing", classes="empty")
                yield EntryLine(id="entry-line")
                yield Words(id="facts")
                yield Transfers()
            with Pane(id="samples"):
                yield Player(empty="No video was made from it.", letters=self.cockpit.settings.ascii)

    @property
    def table(self) -> ListTable:
        """Return the list of checkpoints."""
        return self.query_one(ListTable)

    @property
    def player(self) -> Player:
        """Return the player of the chosen checkpoint's videos."""
        return self.query_one(Player)

    @property
    def chosen(self) -> CheckpointPair | None:
        """Return the checkpoint with the cursor; None while the list is empty."""
        return next((pair for pair in self.pairs if pair.name == self.table.chosen), None)

    # Drawing

    def show(self, state: State, now_t: float) -> None:
        """Draw the list, the transfers and the chosen one; the rows only when something is new."""
        there = self.known_there()
        standing = f"{self.host} {there.is_read} {there.why} {is_off(state.chosen)}"
        if self._made_of.is_new(self.here, there.checkpoints, there.videos, standing, self.listing_changes):
            videos = sorted(both_places(self.here.videos, there.videos), key=lambda video: video.path.split("/"))
            self.videos = {video.path: video for video in videos}
            scores = {name: dict(values) for name, values in self.here.scores}
            self.pairs = side_by_side(self.here.checkpoints, there.checkpoints, scores, videos)
            self.keep_marks(pair.name for pair in self.pairs)
            self.rows = self.listed(self.pairs, said_of)
            self.table.show_items({pair.name: pair for pair in self.rows}, self._cells)
        is_empty = not self.rows
        self.query_one("#nothing").display = is_empty
        none_fits = self.none_fits(len(self.pairs)) if self.pairs else ""
        self.query_one("#nothing", Block).show(Content(none_fits or self.nothing(NOTHING, now_t)))
        self.table.stand_back(is_hidden=is_empty)
        self.query_one("#facts").display = not is_empty
        pane = self.query_one("#list", Pane)
        pane.entitle(self._title(), self.about_there(now_t, pane.size.width - 2) or None)
        on_their_way = [one for one in state.transfers if one.state != "done"]
        self.query_one(Transfers).display = bool(on_their_way)
        self.query_one(Transfers).show(on_their_way)
        self._show_chosen()

    def _title(self) -> str:
        name = f"checkpoints here and on {self.host}" if self.has_host else "checkpoints here"
        if not self.here.is_read:
            return f"{name} · reading"
        return self.in_words(name, len(self.rows), len(self.pairs)) if self.pairs else name

    def _cells(self, pair: CheckpointPair) -> tuple[Text, ...]:
        view = pair.any
        is_marked = pair.name in self.marked
        return (
            Text(_cut_to(f"{MARK if is_marked else ''}{shown_name(pair.name)}", 12), "bold" if is_marked else ""),
            Text(f"{'–' if view.step is None else grouped(view.step):>7}"),
            Text(f"{'–' if view.loss is None else f'{view.loss:.4f}':>6}"),
            Text(f"{size(view.size_bytes):>7}"),
            _standing(pair.here),
            self._standing_there(pair),
            Text(f"{len(pair.samples) or '–':>4}"),
            Text(f"{main_score(pair):>6}"),
        )

    def _standing_there(self, pair: CheckpointPair) -> Text:
        there = self.known_there()
        if not self.has_host:
            return Text("")
        if not there.is_read:
            is_quiet = is_off(self.cockpit.state.chosen)
            return Text(OFF if is_quiet else UNREACHABLE if there.why else NOT_ASKED, style="dim")
        if pair.here is not None and pair.there is not None and pair.there.is_complete and not pair.is_same:
            return Text("≠ differs", style="yellow" if pair.here.is_complete else "")
        return _standing(pair.there)

    def _show_chosen(self) -> None:
        pair = self.chosen
        self.query_one("#facts", Words).say(self._facts(pair) if pair is not None else "")
        samples = pair.samples if pair is not None else ()
        self._sample = min(self._sample, max(0, len(samples) - 1))
        video = self.videos.get(samples[self._sample]) if samples else None
        title = f"video {self._sample + 1} of {len(samples)}" if samples else "videos made from it"
        where = f" on {self.host}" if video is not None and not video.is_here else ""
        self.query_one("#samples", Pane).entitle(f"{title}{where}", video.title if video is not None else None)
        if video is not None and not video.is_here:
            if self.query_one("#samples").display:
                self.previews.want([video])
            self.previews.show_in(self.player, video)
        else:
            self.previews.shown = None
            self.player.show(self.cockpit.workspace.root / video.path if video is not None else None)

    def _facts(self, pair: CheckpointPair) -> Content:
        """Two lines about the chosen one: what it is, and what is to be known before it is removed."""
        view = pair.any
        own = f"checkpoints/{view.name}" if "/" in view.name else ""
        loss = f"training loss {view.loss:.4f}" if view.is_old and view.loss is not None else ""
        what = [own, view.preset, f"epoch {view.epoch}" if view.epoch is not None else "", loss, *(
            _score_words(f"{name} {value:.3g}") for name, value in pair.scores[:4]
        )]  # fmt: skip
        what += [size(view.size_bytes)] if view.is_old else []
        first = " · ".join(filter(None, what)) or "its trainer.json says nothing"
        wrong = [
            f"{place}: {one.why}" for place, one in (("here", pair.here), (self.host, pair.there)) if one and one.why
        ]
        if wrong:
            return Content.assemble((f"{first}\n", "$text-muted"), ("✗ " + "; ".join(wrong), "$text-warning"))
        if pair.is_only_copy(here=True):
            return Content.assemble(
                (f"{first}\n", "$text-muted"), ("● the copy here is the only one known", "$foreground")
            )
        if pair.is_only_copy(here=False):
            only = f"● the copy on {self.host} is the only one known; p brings it here"
            return Content.assemble((f"{first}\n", "$text-muted"), (only, "$foreground"))
        return Content.assemble(
            (f"{first}\n", "$text-muted"), ("✓ here and on the host, the same files", "$text-success")
        )

    @on(RowList.Highlighted)
    def _other_row(self) -> None:
        self._sample = 0
        self._show_chosen()

    # Keys

    def _in_hand(self, what: str) -> list[CheckpointPair]:
        """The marked ones, else the one with the cursor; nothing, and a word, when there is none."""
        if not self.marked:
            return [pair] if (pair := self._asked_for(what)) is not None else []
        return [pair for pair in self.pairs if pair.name in self.marked]

    def action_pull(self) -> None:
        """Bring the marked checkpoints here, else the chosen one; say why where that cannot be or need not be."""
        pairs = self._in_hand("pull")
        if not pairs:
            return
        names, is_or_are = some([pair.name for pair in pairs], "marked checkpoints"), "is" if len(pairs) == 1 else "are"
        away = [pair.there.path for pair in pairs if pair.there is not None and not pair.is_same]
        if away:
            self.marked.clear()
            self.pull(away)
            self._changed()
        elif not self.has_host:
            self.post_message(Failed(f"{names} {is_or_are} here already", "h chooses a host to pull others from"))
        elif any(pair.is_same for pair in pairs):
            self.post_message(Failed(f"{names} {is_or_are} here already", "the same files; there is nothing to pull"))
        else:
            self.post_message(Failed(f"{names} {is_or_are} not on {self.host}", "h chooses another host"))

    def _asked_for(self, what: str) -> CheckpointPair | None:
        """The chosen one, or a word that there is none."""
        if self.chosen is None:
            self.post_message(Failed(f"there is no checkpoint to {what}", "t starts a training, which writes them"))
        return self.chosen

    def action_generate(self) -> None:
        """Go to Generate with the chosen one, else with the latest."""
        pair = self.chosen
        self.post_message(GoTo("generate", {"checkpoint": pair.any.path} if pair is not None else {}))

    def action_delete_here(self) -> None:
        """Ask, and put the chosen checkpoint into the trash here."""
        self._delete(LOCAL)

    def action_delete_there(self) -> None:
        """Ask, and delete the chosen checkpoint on the host, for good."""
        if self.has_host:
            self._delete(self.host)
        else:
            self.post_message(Failed("no host is chosen to delete on", "D deletes here; h chooses a host"))

    def _delete(self, host: str) -> None:
        pairs = self._in_hand("delete")
        views = [(pair, view) for pair in pairs if (view := pair.here if host == LOCAL else pair.there) is not None]
        if views:
            self.ask_to_remove({host: [view.path for _, view in views]}, question_of_checkpoints(views, host))
        elif pairs:
            where, key = ("here", "X deletes it on the host") if host == LOCAL else (f"on {host}", "D deletes it here")
            names = some([pair.name for pair in pairs], "marked checkpoints")
            self.post_message(Failed(f"{names} {'is' if len(pairs) == 1 else 'are'} not {where}", key))

    @on(RowList.Selected)
    def _open(self) -> None:
        """Its videos, on their own screen."""
        if (pair := self.chosen) is not None and pair.samples:
            self.post_message(GoTo("videos", pair.samples[self._sample]))

    def action_play(self) -> None:
        """Play the sample that is shown, or pause it; without room for a player, open it on the screen of videos."""
        if not self._has_samples():
            return
        if self.query_one("#samples").display:
            self.player.action_play()
        else:
            self._open()

    def action_next_sample(self, step: int) -> None:
        """Show the sample so many steps on (or back, when negative), round and round."""
        if self._has_samples() and (pair := self.chosen) is not None:
            self._sample = (self._sample + step) % len(pair.samples)
            self._show_chosen()

    def _has_samples(self) -> bool:
        """Whether videos made from the chosen one are known; else a word that there are none."""
        pair = self._asked_for("play")
        if pair is not None and not pair.samples:
            self.post_message(Failed(f"no video made from {pair.name} is known", "u makes one with it"))
        return pair is not None and bool(pair.samples)


def said_of(pair: CheckpointPair) -> dict[str, str]:
    """Return what a filter looks in, by the names that it may ask for."""
    places = [word for word, view in (("here", pair.here), ("host", pair.there)) if view is not None]
    view = pair.any
    standing = "whole" if view.is_complete else "partial"
    return {
        "name": f"{pair.name} {shown_name(pair.name)}", "preset": view.preset, "place": " ".join(places),
        "state": standing, "step": "" if view.step is None else f"{view.step}",
    }  # fmt: skip


def _standing(view: CheckpointView | None) -> Text:
    if view is None:
        return Text("–", style="dim")
    return Text("✓ whole", style="green") if view.is_complete else Text("✗ partial", style="yellow")


def _cut_to(name: str, cells: int) -> str:
    return name if len(name) <= cells else f"{name[: cells - 1]}…"


def _score_words(score: str) -> str:
    """`all_obeyed_seen 0.93` as `all obeyed seen 0.93`."""
    return score.replace("_", " ")
