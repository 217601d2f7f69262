"""What all screens are: a body between headline and footer, drawn from the state."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container
from textual.dom import DOMNode
from textual.events import Mount, ScreenResume
from textual.notifications import Notification
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input
from textual.widgets._toast import Toast, ToastHolder

from t2v_tui.keys import EVERYWHERE, Key, is_writing, while_typing
from t2v_tui.messages import FollowJob
from t2v_tui.store.state import JobKey, State
from t2v_tui.widgets.chrome import Footer, Headline, Tabs, TooSmall
from t2v_tui.widgets.launch_panel import LaunchDrawer
from t2v_tui.widgets.pane import Pane

if TYPE_CHECKING:
    from t2v_tui.app import CockpitApp


# By then a new screen has read what it shows.
SETTLED_S = 3.0
MAXIMIZED = "-maximized-view"  # Textual's, of the screen


class Cockpit(Screen[None]):
    """One of the app's screens. `body`, `show` and `arrive` are for children to fill in; see screens/__init__.py.

    HAS_DRAWER: what is started here is shown at its foot; False where the body has a place for that
    GROUPS: of keys in keys.py that it shares with other screens
    """

    NAME: ClassVar[str]
    GROUPS: ClassVar[tuple[str, ...]] = ()
    HAS_DRAWER: ClassVar[bool] = True

    # Textual's own draws the whole screen again whenever another pane has the focus, which takes 20 ms.
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)

    _is_made = False
    _was_up = False

    @on(Mount)
    def _note_made(self) -> None:
        """From here on all widgets are there, down to the last."""
        self._is_made = True
        self.set_timer(SETTLED_S, self._settle)

    def _settle(self) -> None:
        """Do ahead what would take its time in the middle of what a key draws, once nobody waits for the screen.

        What was read stays, and so is left out of the collections of garbage: with it one takes 0.1 s and more.
        The first notice of a session reads its style sheets, which takes 15 ms.
        """
        gc.freeze()
        toast = Toast(Notification(""))
        for widget in (toast, ToastHolder(toast)):
            widget._post_register(self.app)
        _ = self.app.stylesheet.rules_map  # parsed now

    def compose(self) -> ComposeResult:
        """Lay out headline, tabs, the body and the footer."""
        for size, places in ((self.app.size.width, self.app.HORIZONTAL_BREAKPOINTS),
                             (self.app.size.height, self.app.VERTICAL_BREAKPOINTS)):  # fmt: skip
            # Textual does so once all is laid out, and finds all styles anew: 40 ms.
            self.add_class(max(place for place in places or () if place[0] <= size)[1], update=False)
        yield Headline(id="headline")
        yield Tabs(id="tabs")
        with Container(id="body"):
            yield from self.body()
        if self.HAS_DRAWER:
            yield LaunchDrawer(self.NAME)
        yield Footer()
        yield TooSmall(id="too-small")

    def body(self) -> ComposeResult:
        """Lay out everything between tabs and footer."""
        raise NotImplementedError

    def show(self, state: State, now_t: float) -> None:
        """Draw the state."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw the body again, unless the app has ended."""
        if self.cockpit.is_running:
            self.show(self.cockpit.state, self.cockpit.now())

    def arrive(self, arrival: Any) -> None:
        """Take what somebody came here with in hand; ignored unless the screen fills this in."""

    def has_started(self, job: JobKey) -> None:
        """Take up a job that was started here: it is followed, and more where the screen fills this in."""
        self.post_message(FollowJob(job))

    @property
    def cockpit(self) -> CockpitApp:
        """Return the app, as the type that it is."""
        return cast("CockpitApp", self.app)  # nothing else shows a screen; the app knows the screens

    def refresh_all(self, state: State, now_t: float) -> None:
        """Draw headline, tabs and body; nothing before all widgets are there, or once the app has ended."""
        if not self._is_made or not self.cockpit.is_running:  # at its end widgets go before the screen's last drawing
            return
        self.query_one(Headline).show_state(state, now_t)
        if (alone := self.query_one(TooSmall)).display:
            alone.show_state(state)
        self.query_one(Tabs).show_current(self.NAME)
        if self.HAS_DRAWER:
            self.query_one(LaunchDrawer).show(state, now_t)
        self.show(state, now_t)

    def refresh_machine(self, state: State, now_t: float) -> None:
        """Draw how the machine does, which is said every two seconds; nothing before all widgets are there."""
        if self._is_made and self.cockpit.is_running:
            self.show_machine(state, now_t)

    def show_machine(self, state: State, now_t: float) -> None:
        """Draw how the machine does; ignored unless the screen fills this in."""

    @on(ScreenResume)
    def _draw_again(self, event: ScreenResume) -> None:
        """As it was left or made: styles change with the theme only, which the app sees to; to find all takes 40 ms."""
        event.refresh_styles = False
        if self._was_up:
            self._draw()
        else:
            self._was_up = True
            self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        """Draw again once the new size is laid out."""
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        self.refresh_all(self.cockpit.state, self.cockpit.now())
        self._show_keys()

    def watch_focused(self, before: Widget | None, after: Widget | None) -> None:
        """Draw the borders of what had the focus and of what has it, and its keys: at once, to be painted in one go."""
        left, entered = ({one for one in _around(widget) if isinstance(one, Pane)} for widget in (before, after))
        for pane in left ^ entered:
            pane.hold(pane in entered)
        self._show_keys()

    def _show_keys(self) -> None:
        if self._is_made:
            keys = while_typing(self.footer_keys()) if isinstance(self.focused, Input) else self.footer_keys()
            self.query_one(Footer).show_keys(keys, is_read_only=self.cockpit.state.is_read_only)

    def footer_keys(self) -> list[Key]:
        """Return the keys by importance: of the screen, of the pane with the focus, then those that hold everywhere."""
        groups = self.keys_now()
        own = [keys for name, keys in groups if name == self.NAME]
        return [key for keys in (*own, *(keys for name, keys in groups if name != self.NAME)) for key in keys]

    def set_class(self, add: bool, *class_names: str, update: bool = True) -> Self:
        """Add classes, or take them away; that a pane is on the whole screen is no matter for any style sheet.

        Textual says so by a class of the screen, for which it finds the styles of all widgets anew: 40 ms.
        """
        return super().set_class(add, *class_names, update=update and class_names != (MAXIMIZED,))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return False for what starts, ends, changes or costs something, which `--read-only` leaves out."""
        if (
            self.is_attached
            and self.cockpit.state.is_read_only
            and any(is_writing(action, where) for where in (self.NAME, *self.GROUPS))
        ):
            return False
        return super().check_action(action, parameters)

    def on_key(self, event: events.Key) -> None:
        """Say so when a key is pressed that `--read-only` leaves out."""
        if self.cockpit.state.is_read_only and event.key in self._left_out():
            self.cockpit.guard.say_read_only()

    def _left_out(self) -> set[str]:
        """The keys that start, end, change or cost something here."""
        places = (*self.panes(), self.NAME, *self.GROUPS, EVERYWHERE)
        keys = [key for place in places for key in self.cockpit.writing_keys_for(place)]
        return {name for key in keys for name in key.keys.split(",")}

    def panes(self) -> Iterator[str]:
        """Yield the names of the panes that have the focus, the innermost first."""
        widget: DOMNode | None = self.focused
        while widget is not None and widget is not self:
            if pane := getattr(widget, "PANE", ""):
                yield str(pane)
            widget = widget.parent

    def keys_now(self) -> list[tuple[str, list[Key]]]:
        """Return (pane, its keys) that work now, the innermost first; the last are those that hold everywhere."""
        names = [*dict.fromkeys([*self.panes(), self.NAME, *self.GROUPS]), ""]
        return [(name, self.cockpit.keys_for(name)) for name in names]


def _around(widget: Widget | None) -> list[DOMNode]:
    """A widget and what it is in, up to the screen; nothing for none, or for one that was taken away."""
    return list(widget.ancestors_with_self) if widget is not None and widget.is_attached else []
