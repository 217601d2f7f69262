"""What all screens are: a body between headline and footer, drawn from the state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container
from textual.dom import DOMNode
from textual.events import DescendantFocus, Mount, ScreenResume
from textual.screen import Screen

from t2v_tui.keys import EVERYWHERE, Key, is_writing
from t2v_tui.state import State
from t2v_tui.widgets.chrome import Footer, Headline, Tabs, TooSmall

if TYPE_CHECKING:
    from t2v_tui.app import CockpitApp


class Cockpit(Screen[None]):
    """One of the app's screens. `body`, `show` and `arrive` are for children to fill in; see screens/__init__.py."""

    NAME: ClassVar[str]

    _is_made = False

    @on(Mount)
    def _note_made(self) -> None:
        """From here on all widgets are there, down to the last."""
        self._is_made = True

    def compose(self) -> ComposeResult:
        yield Headline(id="headline")
        yield Tabs(id="tabs")
        with Container(id="body"):
            yield from self.body()
        yield Footer()
        yield TooSmall(id="too-small")

    def body(self) -> ComposeResult:
        """Everything between tabs and footer."""
        raise NotImplementedError

    def show(self, state: State, now_t: float) -> None:
        """Draw the state."""
        raise NotImplementedError

    def arrive(self, arrival: Any) -> None:
        """Somebody came here with something in hand."""

    @property
    def cockpit(self) -> CockpitApp:
        from t2v_tui.app import CockpitApp  # noqa: PLC0415 - the app knows the screens

        app = self.app
        assert isinstance(app, CockpitApp)  # noqa: S101 - for the type checker
        return app

    def refresh_all(self, state: State, now_t: float) -> None:
        """Headline, tabs and body."""
        if not self._is_made or not self.children:  # at the app's end they go before the screen's last drawing
            return
        self.query_one(Headline).show_state(state, now_t)
        self.query_one(TooSmall).show_state(state)
        self.query_one(Tabs).show_current(self.NAME)
        self.show(state, now_t)

    @on(ScreenResume)
    def _draw_again(self) -> None:
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        self.refresh_all(self.cockpit.state, self.cockpit.now())
        self._show_keys()

    @on(DescendantFocus)
    def _show_keys(self) -> None:
        if self._is_made:
            self.query_one(Footer).show_keys(self.footer_keys(), is_read_only=self.cockpit.state.is_read_only)

    def footer_keys(self) -> list[Key]:
        """By importance: of the screen, of the pane with the focus, then those that hold everywhere."""
        groups = self.keys_now()
        own = [keys for name, keys in groups if name == self.NAME]
        return [key for keys in (*own, *(keys for name, keys in groups if name != self.NAME)) for key in keys]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """`--read-only` leaves out what starts, ends, changes or costs something."""
        if self.is_attached and self.cockpit.state.is_read_only and is_writing(action, self.NAME):
            return False
        return super().check_action(action, parameters)

    def on_key(self, event: events.Key) -> None:
        """What is left of a key that `--read-only` leaves out: a word that it does so."""
        if self.cockpit.state.is_read_only and event.key in self._left_out():
            self.cockpit.say_read_only()

    def _left_out(self) -> set[str]:
        """The keys that start, end, change or cost something here."""
        places = (*self.panes(), self.NAME, EVERYWHERE)
        keys = [key for place in places for key in self.cockpit.writing_keys_for(place)]
        return {name for key in keys for name in key.keys.split(",")}

    def panes(self) -> Iterator[str]:
        """Names of the panes that have the focus, the innermost first."""
        widget: DOMNode | None = self.focused
        while widget is not None and widget is not self:
            if pane := getattr(widget, "PANE", ""):
                yield str(pane)
            widget = widget.parent

    def keys_now(self) -> list[tuple[str, list[Key]]]:
        """(pane, its keys) that work now, the innermost first; the last are those that hold everywhere."""
        names = [*dict.fromkeys([*self.panes(), self.NAME]), ""]
        return [(name, self.cockpit.keys_for(name)) for name in names]
