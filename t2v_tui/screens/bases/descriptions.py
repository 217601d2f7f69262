"""What lies beside the videos of a host, read there once for each: the prompt, the seed, and what else made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from textual.message import Message

from t2v_core.errors import EngineError
from t2v_tui.library.views import VideoView

if TYPE_CHECKING:
    from t2v_tui.screens.bases.library_screen import LibraryScreen
    from t2v_tui.workers.services import Services

# A round trip each: by then the list is longer than a screen.
MOST_AT_ONCE = 30


class Described(Message):
    """The .json beside a video of the host was read."""

    def __init__(self, host: str, video: VideoView) -> None:
        super().__init__()
        self.host, self.video = host, video


class Descriptions:
    """Reads for one screen, whose threads these are, and which takes Described and gives it to `take`.

    read: how many were read so far
    """

    def __init__(self, screen: LibraryScreen) -> None:
        self._screen = screen
        self.read = 0
        self._known: dict[tuple[str, str, float], VideoView] = {}  # those that are being read, as they are listed

    def of(self, video: VideoView) -> VideoView:
        """Return a video with what lies beside it on the host, as far as that was read."""
        known = self._known.get(self._key(video))
        if video.is_here or known is None or video.settings:
            return video
        return replace(known, is_here=False, is_there=True)

    def want(self, videos: Sequence[VideoView]) -> None:
        """Read what lies beside these on the host, each once; of many, beside the first ones."""
        unread = [one for one in videos[:MOST_AT_ONCE] if not one.settings and self._key(one) not in self._known]
        if (services := self._screen.services) is not None and unread:
            self._known.update({self._key(one): one for one in unread})
            read = partial(self._read, services, self._screen.host, unread)
            self._screen.run_worker(read, group="describe", thread=True, exit_on_error=False)

    def take(self, message: Described) -> None:
        """Keep what was read."""
        self._known[message.host, message.video.path, message.video.changed_t] = message.video
        self.read += 1

    def _key(self, video: VideoView) -> tuple[str, str, float]:
        return self._screen.host, video.path, video.changed_t

    def _read(self, services: Services, host: str, videos: Sequence[VideoView]) -> None:
        from t2v_tui.library.on_host import described_there

        try:
            for video in videos:
                self._screen.post_message(Described(host, described_there(services.jobs(host), video)))
        except EngineError:  # the screen says of the link what there is to say
            return
