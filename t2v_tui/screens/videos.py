"""Videos here and on the host: played on the spot, with what made them, and the ways on from each."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content

from t2v_core.errors import EngineError
from t2v_core.format import counted
from t2v_tui.keys import bindings_for
from t2v_tui.library.favourites import turn_favourites
from t2v_tui.library.removing import question_of_videos, with_beside
from t2v_tui.library.views import AGAIN, VideoView, again, both_places, shown_name
from t2v_tui.library.votes import pairs_of
from t2v_tui.messages import Failed, GoTo, StartWork
from t2v_tui.screens.bases.descriptions import Described, Descriptions
from t2v_tui.screens.bases.library_screen import LibraryScreen
from t2v_tui.screens.bases.listing_screen import MARK, MarkingScreen, some
from t2v_tui.screens.panels.blind import BlindPanel
from t2v_tui.screens.video_rows import COLUMNS, ORDERS, facts_of, row_of, said_of
from t2v_tui.store.state import LOCAL, State
from t2v_tui.widgets.chrome import Block
from t2v_tui.widgets.entry_line import EntryLine
from t2v_tui.widgets.lists import ListTable, MadeOf
from t2v_tui.widgets.pane import Pane, Words
from t2v_tui.widgets.rows import RowList
from t2v_tui.widgets.transfers import in_one_line
from t2v_tui.widgets.video.player import Player
from t2v_tui.widgets.video.sheet import Card, Sheet

NOTHING = """No video yet, here or on a host.

4   makes one from a prompt,
    in seconds
t   trains a model, which makes
    some at each checkpoint"""


class VideosScreen(MarkingScreen, LibraryScreen):
    NAME = "videos"
    ITEMS = "videos"
    ORDERS = ORDERS
    CSS_PATH = "videos.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("videos")]

    def __init__(self) -> None:
        super().__init__()
        self.videos: tuple[VideoView, ...] = ()
        self.rows: list[VideoView] = []
        self.is_sheet = False
        self._descriptions = Descriptions(self)
        self._wanted = ""
        self._made_of = MadeOf()

    def body(self) -> ComposeResult:
        """Lay out the videos, as a list or as pictures, beside the chosen one."""
        with Horizontal():
            with Pane(id="list"):
                yield ListTable(COLUMNS, id="videos", keeps_first=True)
                yield Sheet(letters=self.cockpit.settings.ascii)
                yield Block(id="nothing", classes="empty")
                yield EntryLine(id="entry-line")
            with Pane(id="show"):
                yield Player(empty="The chosen one plays here.", letters=self.cockpit.settings.ascii)
                yield Words(id="facts")

    @property
    def table(self) -> ListTable:
        """Return the list of videos, which holds the cursor also while pictures are shown."""
        return self.query_one(ListTable)

    @property
    def sheet(self) -> Sheet:
        """Return the sheet of pictures."""
        return self.query_one(Sheet)

    @property
    def player(self) -> Player:
        """Return the player of the chosen video."""
        return self.query_one(Player)

    @property
    def chosen(self) -> VideoView | None:
        """Return the video with the cursor; None while the list is empty."""
        return next((video for video in self.videos if video.path == self.table.chosen), None)

    def arrive(self, arrival: Any) -> None:
        """Take a video to show: its path, relative to the workspace."""
        self._wanted = str(arrival)
        self.read_anew()
        self._choose_wanted()

    # Drawing

    def show(self, state: State, now_t: float) -> None:
        """Draw the videos and the chosen one; the rows only when something is new."""
        there = self.known_there()
        said = (self.here.videos, there.videos, self.here.favourites)
        if is_new := self._made_of.is_new(*said, self._descriptions.read, self.listing_changes):
            self.videos = tuple(map(self._as_known, both_places(self.here.videos, there.videos)))
            self.keep_marks(video.path for video in self.videos)
            self.rows = self.listed(self.videos, said_of)
            self._descriptions.want([video for video in self.rows if not video.is_here])
        if self._made_of.is_older(now_t) or is_new:
            rows = {video.path: video for video in self.rows}
            self.table.show_items(rows, lambda video: row_of(video, now_t, is_marked=video.path in self.marked))
        is_empty = not self.rows
        self.query_one("#nothing").display = is_empty
        none_fits = self.none_fits(len(self.videos)) if self.videos else ""
        self.query_one("#nothing", Block).show(Content(none_fits or self.nothing(NOTHING, now_t)))
        self.sheet.display = self.is_sheet and not is_empty
        self.table.stand_back(is_hidden=self.is_sheet or is_empty)
        if self.is_sheet:
            films = {video.path: self.previews.film(video) for video in self.rows if not video.is_here}
            self.sheet.show_cards(
                self._cards(), self.table.chosen, {path: film for path, film in films.items() if film}
            )
        is_read = self.here.is_read
        title = self.in_words("videos", len(self.rows), len(self.videos)) if is_read else "videos · reading"
        pane = self.query_one("#list", Pane)
        pane.entitle(title, self.about_there(now_t, pane.size.width - 2) or in_one_line(state.transfers) or None)
        self._choose_wanted()
        self._show_chosen()

    def _cards(self) -> list[Card]:
        root = self.cockpit.workspace.root
        return [
            Card(video.path, self._title_of(video), root / video.path if video.is_here else None, video.changed_t)
            for video in self.rows
        ]

    def _title_of(self, video: VideoView) -> str:
        return f"{MARK if video.path in self.marked else ''}{'★ ' if video.is_favourite else ''}{video.title}"

    def to_list(self) -> None:
        """Put the focus on the list, or on the pictures in its place."""
        (self.sheet if self.is_sheet else self.table).focus()

    def step_on(self) -> None:
        """Move the cursor to the next video."""
        if self.is_sheet:
            self.sheet.action_move(1)
        else:
            super().step_on()

    def action_sheet(self) -> None:
        """Switch from the list to pictures, or back; the same one stays chosen."""
        self.is_sheet = not self.is_sheet
        self.set_class(self.is_sheet, "-sheet")
        self.redraw()
        self.to_list()

    @on(Sheet.Chosen)
    def _other_card(self) -> None:
        keys = [video.path for video in self.rows]
        if self.sheet.chosen in keys:
            self.table.move_to(keys.index(self.sheet.chosen))
            self._show_chosen()

    def _as_known(self, video: VideoView) -> VideoView:
        described = self._descriptions.of(video)
        return replace(described, is_favourite=True) if video.path in self.here.favourites else described

    def _choose_wanted(self) -> None:
        if not self._wanted or self._wanted not in {video.path for video in self.videos}:
            return
        if self._wanted not in (paths := [video.path for video in self.rows]):  # it is what was asked for
            self.wanted, self._made_of = "", MadeOf()
            self.redraw()
            return
        self.table.move_to(paths.index(self._wanted))
        self._wanted = ""

    def _show_chosen(self) -> None:
        video = self.chosen
        is_away = video is not None and not video.is_here
        film = self.previews.film(video) if video is not None and is_away else None
        self.query_one("#show", Pane).entitle(
            video.path.removeprefix("outputs/") if video else "preview",
            f"{counted(len(film.frames), 'small frame')} made on {self.host}" if film is not None else None,
        )
        if not is_away:
            self.previews.shown = None
            if self.is_sheet:
                self.previews.want(self._pictures_wanted())
        facts = self.query_one("#facts", Words)
        facts.display = video is not None
        facts.say(facts_of(video) if video is not None else "")
        if video is None:
            self.player.show(None)
        elif video.is_here:
            self.player.show(self.cockpit.workspace.root / video.path)
        else:
            self.previews.want([video, *self._pictures_wanted()])
            self.previews.show_in(self.player, video, "p   brings it here")
            self._descriptions.want([video])

    def _pictures_wanted(self) -> list[VideoView]:
        """Those that the sheet has in sight and that are on the host only."""
        in_sight = set(self.sheet.in_sight()) if self.is_sheet else set()
        return [video for video in self.rows if video.path in in_sight and not video.is_here]

    @on(RowList.Highlighted)
    def _other_row(self) -> None:
        self._show_chosen()

    @on(Described)
    def _take_description(self, message: Described) -> None:
        """Draw what lies beside a video of the host; it is kept with the next answer of that host."""
        self._descriptions.take(message)
        if message.host == self.there.host:
            videos = (message.video if one.path == message.video.path else one for one in self.there.videos)
            self.there = replace(self.there, videos=tuple(videos))
        self.redraw()

    # Keys

    @on(RowList.Selected)
    def action_play(self) -> None:
        """Play the chosen video, or pause it; of one that is on the host only, its small frames."""
        if self.previews.shown is not None or self._path_here("played") is not None:
            self.player.action_play()

    def action_step(self, frames: int) -> None:
        """Step so many frames on, or back when negative; say so when the video is not here."""
        if self.previews.shown is not None or self._path_here("played") is not None:
            self.player.action_step(frames)

    def _asked_for(self, what: str) -> VideoView | None:
        """The chosen one, or a word that there is none to be …"""
        if self.chosen is None:
            self.post_message(Failed(f"there is no video to be {what}", "4 makes one from a prompt"))
        return self.chosen

    def _path_here(self, what: str) -> Path | None:
        """The chosen video's file, or a word that it is not here."""
        video = self._asked_for(what)
        if video is None:
            return None
        if not video.is_here:
            self.post_message(
                Failed(f"{video.name} is on {self.host} only: it cannot be {what} here", "p brings it here")
            )
            return None
        return self.cockpit.workspace.root / video.path

    def action_open(self) -> None:
        """Open the chosen video in the system's player; say so when it is not here."""
        if (path := self._path_here("opened")) is not None:
            self.open_elsewhere(path)

    def action_refine(self) -> None:
        """Go to Vid2Vid with the chosen video, its prompt and its checkpoint."""
        video = self._asked_for("refined")
        if video is not None:
            with_it = {"prompt": video.prompt, "checkpoint": video.settings.get("checkpoint")}
            self.post_message(GoTo("vid2vid", {"input": video.path, "is_here": video.is_here, **with_it}))

    def action_again(self) -> None:
        """Make the same once more from other noise, where the first one was made."""
        video = self._asked_for("made again")
        if video is None:
            return
        if not video.prompt:
            self.post_message(Failed("nothing is known about how it was made", "4 makes a video from a prompt"))
            return
        values = again(video, secrets.randbelow(9_999) + 1)
        checkpoint, places = str(values.get("checkpoint", "")), ([LOCAL] if video.is_here else []) + [self.host]
        place = next((one for one in places if self.has_checkpoint(one, checkpoint)), None)
        if place is None:
            name = shown_name(checkpoint.removeprefix("checkpoints/"))
            where = " or ".join(dict.fromkeys(places))
            self.post_message(Failed(f"{name}, which made it, was not found on {where}", "e takes its settings along"))
            return
        self.post_message(StartWork("sheet" if video.verb == "sheet" else "generate", values, place))
        self.notify(f"“{video.prompt}” again, with seed {values['seed']}", markup=False)

    def action_edit(self) -> None:
        """Go to Generate, with everything filled in."""
        video = self._asked_for("edited")
        if video is None:
            return
        values = {name: video.settings[name] for name in AGAIN if video.settings.get(name)}
        lines = str(values.pop("prompts", "")).splitlines()
        if lines[1:]:
            self.post_message(
                Failed(f"this sheet has {len(lines)} prompts, and Generate edits one", "a makes it again")
            )
            return
        self.post_message(GoTo("generate", {**values, **({"prompt": lines[0]} if lines else {})}))

    def action_favourite(self) -> None:
        """Make favourites of the marked videos, else of the chosen one; of none where all of them are."""
        if videos := self._in_hand("made a favourite"):
            self._turn_favourites([video.path for video in videos])

    @work(thread=True, exclusive=True, group="favourites", exit_on_error=False)
    def _turn_favourites(self, paths: list[str]) -> None:
        try:
            turn_favourites(self.cockpit.workspace, paths)
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
        self.post_message(self.Changed())

    def action_blind(self) -> None:
        """Ask which of two is better, without telling which is which: of the marked videos, else of all listed ones."""
        videos = [video for video in self.rows if not self.marked or video.path in self.marked]
        here = [video for video in videos if video.is_here]
        pairs = pairs_of(here, secrets.SystemRandom())
        if pairs:
            plays = self.cockpit.settings.animation
            panel = BlindPanel(self.cockpit.workspace, pairs, letters=self.cockpit.settings.ascii, plays=plays)
            self.app.push_screen(panel)
        elif len(here) < len(videos):
            names = some([video.name for video in videos if not video.is_here], "of these videos")
            is_or_are = "is" if len(videos) - len(here) == 1 else "are"
            self.post_message(Failed(f"{names} {is_or_are} on {self.host} only", "p brings the marked ones here"))
        else:
            hint = "videos of one prompt by two checkpoints, guidance scales or samplers do; t2v sheet makes such"
            self.post_message(Failed("there are no two videos of one prompt that differ in more than their seed", hint))

    def _in_hand(self, what: str) -> list[VideoView]:
        """The marked ones, else the one with the cursor; nothing, and a word, when there is none to be …"""
        if not self.marked:
            return [video] if (video := self._asked_for(what)) is not None else []
        return [video for video in self.videos if video.path in self.marked]

    def action_pull(self) -> None:
        """Bring the marked videos here, else the chosen one, each with the .json beside it."""
        videos = self._in_hand("pulled")
        away = [video for video in videos if not video.is_here]
        if videos and not away:
            names = some([video.name for video in videos], "marked videos")
            is_or_are = "is" if len(videos) == 1 else "are"
            self.post_message(Failed(f"{names} {is_or_are} here already", "w opens one in a player"))
        elif away:
            self.marked.clear()
            self.pull([path for video in away for path in with_beside(video)])
            self._changed()

    def action_delete(self) -> None:
        """Ask, and delete the marked videos, else the chosen one: here where it is here, else on the host."""
        if videos := self._in_hand("deleted"):
            places: dict[str, list[str]] = {}
            for video in videos:
                places.setdefault(LOCAL if video.is_here else self.host, []).extend(with_beside(video))
            self.ask_to_remove(places, question_of_videos(videos, self.host))
