"""What screens of checkpoints and videos share: reading both workspaces, pulling, removing, opening elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on, work
from textual.message import Message

from remote.replies.questions import REMOVE
from t2v_core.disk.files import MANIFEST
from t2v_core.errors import EngineError
from t2v_core.format import ago
from t2v_tui.library.folders import TRUSTED_S
from t2v_tui.library.inventory import There, recall_there, remember_there
from t2v_tui.library.removing import things
from t2v_tui.library.trash import bring_back, deleted, put_away
from t2v_tui.library.views import FAST_NAME, SHIPPED_NAME, CheckpointView, VideoView
from t2v_tui.messages import CommandRan, EventReceived, Failed, Notice
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.screens.bases.previews import PreviewRead, Previews
from t2v_tui.screens.panels.dialogs import Confirm
from t2v_tui.store.state import LOCAL, Reach
from t2v_tui.text import command_lines
from t2v_tui.text.confirmations import Question
from t2v_tui.text.headline import is_off
from t2v_tui.text.unreachable import asked, instead_of_empty, is_lost, not_heard, waits
from t2v_tui.workers.transfers import PullStream

if TYPE_CHECKING:
    from t2v_tui.store.events import News
    from t2v_tui.workers.services import Services

HERE_EVERY_S, THERE_EVERY_S = 4.0, 20.0
# What a host has is kept for the next session when it is another, and now and then, as its age is shown.
KEPT_FOR_S = 300.0
# After so long a screen that comes up again is on the terminal.
PAINTED_S = 0.25
OPENERS = ("open",) if sys.platform == "darwin" else ("xdg-open", "mpv", "vlc", "ffplay")


@dataclass(frozen=True)
class Here:
    """The workspace here. scores: checkpoint → score → value; favourites: paths of videos, wherever they are"""

    checkpoints: tuple[CheckpointView, ...] = ()
    videos: tuple[VideoView, ...] = ()
    scores: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()
    favourites: frozenset[str] = frozenset()
    is_read: bool = False


class LibraryScreen(Cockpit):
    """Reads when it comes up, every few seconds while it is up, and when something has landed."""

    class HereRead(Message):
        def __init__(self, here: Here) -> None:
            super().__init__()
            self.here = here

    class ThereRead(Message):
        """is_recalled: as it was remembered; the host is asked next"""

        def __init__(self, there: There, *, is_recalled: bool = False) -> None:
            super().__init__()
            self.there, self.is_recalled = there, is_recalled

    class Changed(Message):
        """Something landed or was removed."""

    def __init__(self) -> None:
        super().__init__()
        self.here, self.there = Here(), There()
        self._kept_t = 0.0  # when what the host has was kept on the disk last
        self._pulls: list[PullStream] = []
        self.previews = Previews(self)

    def on_mount(self) -> None:
        """Read both workspaces now and every few seconds."""
        self.set_interval(HERE_EVERY_S, partial(self._read_here_again, trusted_s=TRUSTED_S))
        self.set_interval(THERE_EVERY_S, self._read_there_again)
        self.read_anew()

    def on_screen_resume(self) -> None:
        """Read anew once the screen is drawn.

        What was there stands there at once; reading 2,000 videos beside the drawing would double its time.
        """
        self.set_timer(PAINTED_S, self.read_anew)

    def on_unmount(self) -> None:
        """Close the pulls that this screen began."""
        for pull in self._pulls:
            pull.close()

    @property
    def host(self) -> str:
        """Return the chosen one, which stands beside what is here."""
        return self.cockpit.state.host

    @property
    def has_host(self) -> bool:
        """Tell whether another machine than this one is chosen."""
        return self.host != LOCAL

    @property
    def services(self) -> Services | None:
        """Return what talks to hosts and files; None where nobody is to be asked, as in tests of what is drawn."""
        return self.cockpit.services

    def has_checkpoint(self, host: str, path: str) -> bool:
        """Tell whether a host is known to have it whole; the shipped one is everywhere."""
        if path in ("", SHIPPED_NAME, FAST_NAME):
            return True
        if host == LOCAL:
            place = self.cockpit.workspace.root / path
            return (place / MANIFEST).is_file() or (place.suffix == ".pt" and place.is_file())
        there = self.known_there()
        return host == there.host and any(view.path == path and view.is_complete for view in there.checkpoints)

    # Reading

    def read_anew(self) -> None:
        """Read both workspaces in threads; while another screen is up, only what is here, and only the first time."""
        self._read_here_again()
        self._read_there_again()

    def _read_here_again(self, *, trusted_s: float = 0.0) -> None:
        if self.is_current or not self.here.is_read:
            self._read_here(self.here, trusted_s)

    def _read_there_again(self) -> None:
        reach = self.cockpit.state.chosen.link.reach
        if self.has_host and self.services is not None and self.is_current:
            if self.there.host != self.host:
                self._recall_there(self.host)
            elif reach is not Reach.LOST:
                self._read_there(self.services, self.there)

    @work(thread=True, exclusive=True, group="recall-there", exit_on_error=False)
    def _recall_there(self, host: str) -> None:
        """What it said last, which stands there until it is asked."""
        self.post_message(self.ThereRead(recall_there(self.cockpit.workspace, host), is_recalled=True))

    @work(thread=True, exclusive=True, group="read-here", exit_on_error=False)
    def _read_here(self, known: Here, trusted_s: float) -> None:
        from t2v_tui.library.local import checkpoints_here, favourites_here, scores_here, videos_here

        workspace = self.cockpit.workspace
        scores = tuple((name, tuple(values.items())) for name, values in scores_here(workspace).items())
        checkpoints = checkpoints_here(workspace, trusted_s=trusted_s)
        videos = videos_here(workspace, trusted_s=trusted_s)
        here = Here(checkpoints, videos, scores, favourites_here(workspace), is_read=True)
        if here != known:
            self.post_message(self.HereRead(here))

    @work(thread=True, exclusive=True, group="read-there", exit_on_error=False)
    def _read_there(self, services: Services, known: There) -> None:
        from t2v_tui.library.on_host import checkpoints_there, videos_there

        try:
            jobs = services.jobs(known.host)
            checkpoints = checkpoints_there(jobs, {view.name: view for view in known.checkpoints})
            there = There(known.host, checkpoints, videos_there(jobs, known.videos), True, seen_t=time.time())
            if there != known or there.seen_t - self._kept_t > KEPT_FOR_S:
                self._kept_t = there.seen_t
                remember_there(self.cockpit.workspace, there)
        except EngineError as error:
            there = replace(known, why=error.message, hint=error.hint)
        self.post_message(self.ThereRead(there))

    def on_library_screen_here_read(self, message: HereRead) -> None:
        """Take what is here, and draw it when it changed."""
        if message.here != self.here:
            self.here = message.here
            self.redraw()

    def on_library_screen_there_read(self, message: ThereRead) -> None:
        """Take what the host has, unless another one is chosen by now; after what was remembered, ask the host."""
        if message.there.host != self.host:
            return
        is_new, self.there = message.there != self.there, message.there
        if message.is_recalled:
            self._read_there_again()
        if is_new:
            self.redraw()

    @on(PreviewRead)
    def _take_preview(self, message: PreviewRead) -> None:
        self.previews.take(message)
        self.redraw()

    def on_library_screen_changed(self) -> None:
        """Read both workspaces after something landed or was removed."""
        self.read_anew()

    def known_there(self) -> There:
        """Return what is known of the chosen host; nothing of another one."""
        there = self.there if self.has_host and self.there.host == self.host else There(self.host)
        link = self.cockpit.state.chosen.link
        return replace(there, why=link.why or "not heard") if self.has_host and link.reach is Reach.LOST else there

    def about_there(self, now_t: float, cells: int) -> str:
        """Return the line under a list.

        It says that the host is not heard, is asked, or could not answer, and what to do; else nothing.
        """
        host, there = self.cockpit.state.chosen, self.known_there()
        if not self.has_host:
            return ""
        if lost := not_heard(host, now_t, cells):
            return lost
        if is_off(host):
            return f"○ {self.host} is off; as of {ago(now_t - there.seen_t)} ago" if there.is_read else ""
        if there.why:
            return f"✗ {self.host}: {there.why}" + (f" → {there.hint}" if there.hint else "")
        if there.is_read and waits(host) and there.seen_t:
            return f"{asked(host, now_t)}; as of {ago(now_t - there.seen_t)} ago"
        return asked(host, now_t, "what it has") if self.is_asking else ""

    @property
    def is_asking(self) -> bool:
        """Tell whether the host has not said yet what it has, and may."""
        there, host = self.known_there(), self.cockpit.state.chosen
        return self.has_host and not there.is_read and not there.why and not is_off(host)

    def nothing(self, empty: str, now_t: float) -> str:
        """Return what stands in the place of an empty list: that it is read, whom it waits for, or how to begin."""
        host, there = self.cockpit.state.chosen, self.known_there()
        if not self.here.is_read:
            return f"◌ reading {self.cockpit.workspace.root}"
        if self.has_host and there.why and not there.is_read and not is_off(host) and not is_lost(host):
            return f"Nothing is here, and {self.host} could not say what it has:\n✗ {there.why}\n→ {there.hint}"
        if self.is_asking and not waits(host):
            return f"Nothing is here.\n{asked(host, now_t, 'what it has')}"
        waiting = instead_of_empty([host] if self.has_host and not there.is_read else [], "what it has", now_t)
        return f"Nothing is here.\n{waiting}" if waiting else empty

    # Acting

    def pull(self, paths: Sequence[str], host: str = "") -> None:
        """Bring them here; the transfer is told to the app, which shows it wherever it shows transfers.

        host: default: the chosen one
        """
        if self.services is None or not paths:
            return
        stream = PullStream(self.services, host or self.host, paths, self._tell, self._landed)
        self._pulls.append(stream)
        stream.start()
        self.post_message(CommandRan(command_lines.pull(things(paths), stream.host)))
        more = len(things(paths)) - 1
        said = f"{paths[0]} and {more} more are" if more else f"{paths[0]} is"
        self.notify(f"{said} on {'their' if more else 'its'} way from {stream.host}", markup=False)

    def _tell(self, news: News) -> None:
        self.post_message(EventReceived(news))

    def _landed(self, _path: str | None) -> None:
        self.post_message(self.Changed())

    def ask_to_remove(self, places: Mapping[str, Sequence[str]], question: Question) -> None:
        """Ask, and on a yes delete the paths of each host: into the trash here, for good on another."""

        def answered(is_meant: bool | None) -> None:
            for host, paths in places.items() if is_meant else ():
                if host == LOCAL:
                    self._put_away(list(paths))
                elif self.services is not None:
                    self._remove(self.services, host, list(paths))

        self.app.push_screen(Confirm(question), answered)

    @work(thread=True, group="remove", exit_on_error=False)
    def _put_away(self, paths: list[str]) -> None:
        try:
            one = put_away(self.cockpit.workspace, paths, time.time())
            more = len(things(one.paths)) - 1
            said = f"{one.name} and {more} more are" if more else f"{one.name} is"
            self.post_message(CommandRan(command_lines.put_away(things(one.paths))))
            self.post_message(Notice(f"{said} in the trash; Z brings {'them' if more else 'it'} back within 24 h"))
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
        self.post_message(self.Changed())

    @work(thread=True, exclusive=True, group="undo", exit_on_error=False)
    def action_undo(self) -> None:
        """Bring back what was deleted here last."""
        last = next(iter(deleted(self.cockpit.workspace)), None)
        if last is None:
            self.post_message(
                Failed("nothing was deleted here within 24 hours", "what was deleted on a host cannot be brought back")
            )
            return
        try:
            bring_back(self.cockpit.workspace, last)
            self.post_message(CommandRan(command_lines.bring_back(last.name)))
            self.post_message(Notice(f"{last.name} is back"))
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
        self.post_message(self.Changed())

    @work(thread=True, group="remove", exit_on_error=False)
    def _remove(self, services: Services, host: str, paths: list[str]) -> None:
        try:
            services.jobs(host).ask(REMOVE, paths=paths)
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
        self.post_message(self.Changed())

    def open_elsewhere(self, path: Path) -> None:
        """Open it in the system's player, which goes on by itself; say so when there is none."""
        program = next((name for name in OPENERS if shutil.which(name)), None)
        if program is None:
            self.post_message(Failed("no player was found on this machine", f"the video is {path}"))
            return
        subprocess.Popen(
            [program, str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self.notify(f"{path.name} opens in {program}", markup=False)
