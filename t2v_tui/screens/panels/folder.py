"""The folder of a workspace as its user knows it, here or on the host: what each thing is, how large, how old."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from t2v_core.errors import EngineError
from t2v_tui.library.folder_view import cells, listing_of
from t2v_tui.screens.panels.dialogs import Panel
from t2v_tui.store.state import LOCAL
from t2v_tui.widgets.lists import ListTable
from t2v_tui.widgets.narrowed import Narrowed
from t2v_tui.widgets.rows import RowList

if TYPE_CHECKING:
    from remote.replies.files import FolderListing
    from t2v_tui.workers.services import Services

COLUMNS = (("size", 9), ("age", 6), ("name", 26), ("what it is", 40))
SAID = ("size", "age", "name", "kind")
PATIENCE_S = 0.5
SHOWN = 2000  # rows are laid out one by one; t2v ls shows all


class FolderPanel(Panel):
    """`enter` goes into a folder, backspace out of it, down to the workspace; `/` asks for words of its rows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("backspace,left", "go_up", "up", show=False),
        Binding("slash", "filter", "filter", show=False),
        Binding("escape", "leave", "close", show=False),
    ]

    class Read(Message):
        """A listing, or a sentence why there is none."""

        def __init__(self, path: str, listing: FolderListing | None, why: str = "") -> None:
            super().__init__()
            self.path, self.listing, self.why = path, listing, why

    def __init__(self, services: Services | None, host: str, now_t: float) -> None:
        super().__init__()
        self.services, self.host, self.now_t, self.path = services, host, now_t, "."
        self.folders: set[str] = set()
        self._count = ""

    def compose(self) -> ComposeResult:
        """Lay out the listing between its title and a hint."""
        with Vertical(id="box", classes="tall"):
            yield Static("", id="title", markup=False)
            yield Narrowed(ListTable(COLUMNS), SAID)
            yield Static("enter goes in, backspace out, / filters, esc closes · t2v ls shows all of it", classes="hint")

    def on_mount(self) -> None:
        """Begin with the workspace itself."""
        self.query_one(ListTable).focus()
        self._go("./")

    def _go(self, path: str) -> None:
        path = str(PurePosixPath(path))
        self._entitle(path, "reading")
        if self.services is not None:
            self._read(self.services, path)

    def _entitle(self, path: str, beside: str) -> None:
        where = "here" if self.host == LOCAL else f"on {self.host}"
        name = "the workspace" if path == "." else path
        self.query_one("#title", Static).update(Text(f"{name} {where}{f' · {beside}' if beside else ''}"))

    @work(thread=True, exclusive=True, group="folder", exit_on_error=False)
    def _read(self, services: Services, path: str) -> None:
        try:
            said = self.Read(path, listing_of(services.jobs(self.host), path, PATIENCE_S))
        except EngineError as error:
            said = self.Read(path, None, error.message)
        self.post_message(said)

    @on(Read)
    def _show(self, said: Read) -> None:
        if said.listing is None:
            self._entitle(self.path, said.why)
            return
        entries = said.listing.entries
        if said.path != self.path:
            self.listed.leave()
        self.path, self.folders = said.path, {one.name for one in entries if one.form == "folder"}
        is_whole = said.listing.is_whole and len(entries) <= SHOWN
        of_all = "" if is_whole else f", the first {min(SHOWN, len(entries)):,}"
        self._count = f"{said.listing.count:,} things{of_all}"
        self.listed.show_items(
            {one.name: cells(one, self.now_t) for one in entries[:SHOWN]},
            lambda row: (Text(f"{row[0]:>9}"), *map(Text, row[1:])),
        )
        self._say_count()

    @on(Narrowed.Changed)
    def _say_count(self) -> None:
        said = ", ".join(filter(None, (self._count, self.listed.in_words)))
        self._entitle(self.path, said if self.listed.table.keys or self.listed.wanted else "nothing is here")

    @property
    def listed(self) -> Narrowed:
        """Return the listing, of which `/` leaves what has certain words."""
        return self.query_one(Narrowed)

    def action_filter(self) -> None:
        """Ask for words that rows must have."""
        self.listed.action_filter()

    def action_leave(self) -> None:
        """Ask for no more words, then show all rows, then close."""
        if not self.listed.leave():
            self.dismiss(None)

    @on(RowList.Selected)
    def _enter(self, event: RowList.Selected) -> None:
        event.stop()
        name = self.query_one(ListTable).chosen
        if name in self.folders:
            self._go(f"{self.path}/{name}")

    def action_go_up(self) -> None:
        """Go to the folder above, up to the workspace and no further."""
        if self.path != ".":
            self._go(str(PurePosixPath(self.path).parent))
