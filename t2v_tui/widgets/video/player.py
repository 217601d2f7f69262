"""A video played: decoded once by a child process, drawn or sent once a frame, replayed from what was drawn."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.events import Hide, Resize
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from t2v_core.errors import EngineError
from t2v_tui.keys import bindings_for
from t2v_tui.widgets.video.film import Film, Shelf
from t2v_tui.widgets.video.picture import Picture

# What plays by itself stands still after so long: half blocks are 25 kB/s and 3 % of a core, also when nobody looks.
BY_ITSELF_S = 30.0
# A video is decoded when it is still the shown one after so long: along a list that a key runs through, none is.
LOAD_AFTER_S = 0.1
# Writes to the terminal that wait: beyond, a frame would only come later, and the whole screen with it.
WAITING_WRITES = 4
SHELF = Shelf()


class Player(Container, can_focus=True):
    """Shows a video file, still at first; `space` plays it on and on, and what plays by itself stands still after 30 s.

    python:  of the engine, which decodes
    is_remote: the terminal is at the other end of an SSH connection; default: SSH_TTY says so
    letters: no half blocks and no colours
    """

    PANE = "player-pane"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("player-pane")]
    DEFAULT_CSS = """
    Player { width: 1fr; height: 1fr; }
    Player > .player--said { width: 1fr; height: 1fr; content-align: center middle; color: $text-muted; padding: 0 1; }
    """

    class Loaded(Message):
        """The film can be shown."""

        def __init__(self, path: Path, film: Film) -> None:
            super().__init__()
            self.path, self.film = path, film

    class NotLoaded(Message):
        """It cannot, and why."""

        def __init__(self, path: Path, error: EngineError) -> None:
            super().__init__()
            self.path, self.error = path, error

    def __init__(
        self,
        *,
        empty: str = "",
        python: str = sys.executable,
        is_remote: bool | None = None,
        letters: bool = False,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.empty, self.python = empty, python
        self.is_remote = bool(os.environ.get("SSH_TTY")) if is_remote is None else is_remote
        self.picture = Picture(letters=letters)
        self.said = Static(empty, classes="player--said", markup=False)
        self.path: Path | None = None
        self.is_playing = False
        self._given: Film | None = None
        self._sentence = empty
        self._attempt: tuple[Path, tuple[int, int], tuple[int, int]] | None = None
        self._began = 0.0
        self._plays_until: float | None = None
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """Lay out the picture, and the words that stand in its place."""
        yield self.picture
        yield self.said

    def on_mount(self) -> None:
        """Set up the timer that turns to the next frame; it rests until something plays."""
        self._timer = self.set_interval(1 / self.most_fps, self._turn, pause=not self.is_playing)

    @property
    def most_fps(self) -> float:
        """Return how many frames a second are drawn at most; over SSH it may be fewer."""
        return self.picture.pictures.fps(is_remote=self.is_remote)

    @property
    def box(self) -> tuple[int, int]:
        """Return the pixels that there is room for, (width, height)."""
        return self.picture.pictures.box(self.size, is_remote=self.is_remote)

    def pictures_changed(self) -> None:
        """Take the video in the size that the terminal can show: it has said so only now."""
        if self._timer is not None:
            self._timer.stop()
        self.on_mount()
        self._load_if_there_is_room()
        if self._given is not None:
            self.show_film(self._given)
        self.picture.pictures_changed()

    @property
    def film(self) -> Film | None:
        """Return the film that is shown; None while there is none."""
        return self.picture.film

    def show(self, path: Path | None, *, plays: bool = False) -> None:
        """Show another video, or none. The same one again changes nothing unless its file did."""
        if path != self.path:
            self._stand_still()
            self._attempt = None
            if path is None:
                self.picture.show(None)
                self._say(self.empty)
            elif self.picture.display:
                self.picture.clear()  # the next one comes in its place: to change what stands there is a layout
            else:
                self._say("")
            self._plays_until = time.monotonic() + BY_ITSELF_S if plays else None
        self._given = None
        self.path, self.is_playing = path, plays or (self.is_playing and path is not None)
        self._load_if_there_is_room()

    def show_film(self, film: Film, *, plays: bool = False) -> None:
        """Show frames that come from elsewhere, as a video that is being drawn; they play on where others played.

        plays: they play by themselves, also where none did
        """
        self.path, self._given = None, film
        if plays and not self.is_playing:
            self.is_playing, self._plays_until = True, time.monotonic() + BY_ITSELF_S
        self.picture.show(film.fitted(self.box) if min(self.box) >= 2 and not self.picture.pictures.is_sharp else film)
        self.said.display = False
        if self.is_playing:
            self._go_on()

    def say(self, sentence: str) -> None:
        """Show words in the picture's place."""
        if self.path is None and self._given is None and sentence == self._sentence:
            return
        self.path = self._given = None
        self._stand_still()
        self.picture.show(None)
        self._say(sentence)

    def _say(self, sentence: str) -> None:
        if sentence != self._sentence:
            self._sentence = sentence
            self.said.update(sentence, layout=False)
        self.said.display = True

    def _load_if_there_is_room(self) -> None:
        """Once for each file as it is and each size: a screen may show the same one every second."""
        if self.path is None or min(self.box) < 2:
            return
        attempt = (self.path, _identity(self.path), self.box)
        if attempt != self._attempt:
            self._attempt = attempt
            self._load(self.path, self.box)

    @work(exclusive=True, group="film", exit_on_error=False)
    async def _load(self, path: Path, box: tuple[int, int]) -> None:
        if not SHELF.has(path, box):
            await asyncio.sleep(LOAD_AFTER_S)
        try:
            self.post_message(self.Loaded(path, await SHELF.film(path, box, python=self.python)))
        except EngineError as error:
            self.post_message(self.NotLoaded(path, error))

    def on_player_loaded(self, message: Loaded) -> None:
        """Show the film that was loaded, at the frame that was shown before."""
        if message.path != self.path:
            return
        frame = self.picture.frame
        if message.film is not self.film:
            self.picture.show(message.film)
            self.picture.turn_to(min(frame, len(message.film.frames) - 1))
        self.said.display = False
        if self.is_playing:
            self._go_on()

    def on_player_not_loaded(self, message: NotLoaded) -> None:
        """Say what is wrong with the video, in the picture's place."""
        if message.path == self.path:
            self._stand_still()
            self.picture.show(None)
            self._say(f"{message.error.message}\n{message.error.hint}".strip())

    def on_resize(self, _: Resize) -> None:
        """Load the video in the new size, or fit the frames that were given."""
        self._load_if_there_is_room()
        if self._given is not None:
            self.show_film(self._given)

    # Playing

    def action_play(self) -> None:
        """Play, or stand still."""
        self._plays_until = None
        if self.is_playing:
            self._stand_still()
        elif self.film is not None:
            self._go_on()

    def action_step(self, frames: int) -> None:
        """Stand still, so many frames further on; past the last comes the first."""
        if self.film is not None:
            self._stand_still()
            self.picture.turn_to((self.picture.frame + frames) % len(self.film.frames))

    def _go_on(self) -> None:
        self.is_playing = True
        if self.film is not None:
            self._began = time.monotonic() - self.picture.frame / max(self.film.fps, 0.1)
            if self._timer is not None:
                self._timer.resume()

    def _stand_still(self) -> None:
        self.is_playing = False
        self._rest()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.pause()

    def _turn(self) -> None:
        """To the frame of this moment; frames between are left out when there is no time for them."""
        if self._plays_until is not None and time.monotonic() > self._plays_until:
            self._stand_still()
            return
        if self.film is None or not self.is_on_screen or self._is_behind():
            return
        self.picture.turn_to(int((time.monotonic() - self._began) * self.film.fps) % len(self.film.frames))

    @property
    def is_on_screen(self) -> bool:
        """Tell whether somebody may be looking: the terminal has the focus, as far as it tells."""
        return self.app.screen is self.screen and self.display and self.app.app_focus

    def _is_behind(self) -> bool:
        """The terminal has not taken what it was sent: waiting for it would stop every key."""
        writer = getattr(self.app._driver, "_writer_thread", None)
        queue = getattr(writer, "_queue", None)
        return queue is not None and queue.qsize() > WAITING_WRITES

    def on_hide(self, _: Hide) -> None:
        """Pause while nobody sees it."""
        self._rest()

    def on_show(self) -> None:
        """Play on if it was playing."""
        if self.is_playing:
            self._go_on()


def _identity(path: Path) -> tuple[int, int]:
    """When the file was written, and its size; zeros while it is not there."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
