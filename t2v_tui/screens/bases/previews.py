"""Videos of a host as a few small frames: from the disk here, else made by the host's engine, one after the other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from t2v_core.errors import EngineError
from t2v_tui.library.previews import Seen, kept, made_there
from t2v_tui.library.views import VideoView
from t2v_tui.store.state import LOCAL, Reach
from t2v_tui.widgets.video.film import Film, film_of

if TYPE_CHECKING:
    from t2v_tui.screens.bases.library_screen import LibraryScreen
    from t2v_tui.widgets.video.player import Player
    from t2v_tui.workers.services import Services

MOST_FILMS = 200


class PreviewRead(Message):
    """The frames of a video of a host are here, or why they are not. is_asked: the host was asked, not only the disk"""

    def __init__(self, seen: Seen, film: Film | None, why: str = "", *, is_asked: bool = True) -> None:
        super().__init__()
        self.seen, self.film, self.why, self.is_asked = seen, film, why, is_asked


class Previews:
    """Reads for one screen, whose threads these are, and which takes PreviewRead and gives it to `take`."""

    def __init__(self, screen: LibraryScreen) -> None:
        self._screen = screen
        self.shown: Film | None = None  # in the player, of a video that is not here
        self._films: OrderedDict[Seen, Film] = OrderedDict()
        self._refused: dict[Seen, str] = {}
        self._looked: set[Seen] = set()  # on the disk here, in vain
        self._wanted: list[Seen] = []
        self._reading: Seen | None = None

    def film(self, video: VideoView) -> Film | None:
        """Return the frames of a video of the chosen host, as far as they are here."""
        return self._films.get(Seen.of(self._screen.host, video))

    def words(self, video: VideoView) -> str:
        """Return what stands in the place of frames that are not here: that they are made, or why they are not."""
        seen = Seen.of(self._screen.host, video)
        if why := self._refused.get(seen, ""):
            return why
        is_coming = seen == self._reading or (seen in self._wanted and self._can_ask)
        return f"◌ {seen.host} makes small frames of it" if is_coming else ""

    def show_in(self, player: Player, video: VideoView, *said: str) -> None:
        """Show a video of the host in a player: its frames, else that it is there, what is `said`, and what is made."""
        film = self.film(video)
        if film is None:
            words = (f"It is on {self._screen.host} only.", *said, self.words(video))
            player.say("\n".join(filter(None, words)))
        elif film is not self.shown:
            player.say("")
            player.show_film(film)
        self.shown = film

    def want(self, videos: Sequence[VideoView]) -> None:
        """Read these, the first one first; what was wanted before and is not begun is left out."""
        seen = [Seen.of(self._screen.host, video) for video in videos if not video.is_here]
        self._wanted = [one for one in seen if self._is_missing(one)]
        self._go_on()

    def take(self, message: PreviewRead) -> None:
        """Keep what was read, and read the next."""
        self._reading = None
        if message.film is not None:
            self._films[message.seen] = message.film
            if len(self._films) > MOST_FILMS:
                self._films.popitem(last=False)
        elif message.is_asked:
            self._refused[message.seen] = message.why
        else:
            self._looked.add(message.seen)
        self._wanted = [one for one in self._wanted if self._is_missing(one)]
        self._go_on()

    @property
    def _can_ask(self) -> bool:
        return self._screen.services is not None and self._screen.cockpit.state.chosen.link.reach is Reach.UP

    def _is_missing(self, seen: Seen) -> bool:
        is_known = seen in self._films or seen in self._refused or seen == self._reading
        return not is_known and (self._can_ask or seen not in self._looked)

    def _go_on(self) -> None:
        screen = self._screen
        if self._reading is not None or not self._wanted or not screen.is_current or screen.host == LOCAL:
            return
        self._reading = self._wanted.pop(0)
        services = screen.services if self._can_ask else None
        screen.run_worker(
            partial(self._read, services, self._reading), group="host-previews", thread=True, exit_on_error=False
        )

    def _read(self, services: Services | None, seen: Seen) -> None:
        workspace, film, why = self._screen.cockpit.workspace, None, ""
        try:
            data = kept(workspace, seen)
            if data is None and services is not None:
                data = made_there(workspace, services.jobs(seen.host), seen)
            film = film_of(data, Path(seen.path)) if data is not None else None
        except EngineError as error:
            why = f"{error.message}\n{error.hint}".strip()
        self._screen.post_message(PreviewRead(seen, film, why, is_asked=services is not None))
