"""The keys that work now: one column that scrolls, or two that need not where the terminal is wide."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from t2v_tui.keys import Key
from t2v_tui.registry import entry_of
from t2v_tui.screens.panels.dialogs import Panel

# Of a line of help at 80 columns, without its key and the bar beside it.
HELP_WIDTH = 58
# From this many columns on there are two of them, each so wide.
WIDE_FROM, COLUMN = 110, 55
# As high as a column may be at 120 × 40.
ROWS = 32
KEY_CELLS = 9
KEY_STYLE = "bold $accent"


class Help(Panel):
    """The keys that work now, those of the pane with the focus first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1,q", "dismiss(None)", "close", show=False),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
        Binding("n", "name", show=False),
    ]

    def __init__(self, groups: Sequence[tuple[str, Sequence[Key]]]) -> None:
        super().__init__()
        self.groups, self.shows_names = groups, False

    def compose(self) -> ComposeResult:
        """Lay out the keys, which scroll where they have to."""
        is_wide = self.app.size.width >= WIDE_FROM
        with Vertical(id="box", classes="wide" if is_wide else ""):
            yield Static("Keys", id="title")
            with VerticalScroll(id="lines"):
                if is_wide:
                    with Horizontal(id="columns"):
                        yield Static(markup=False, classes="column")
                        yield Static(markup=False, classes="column")
                else:
                    yield Static(help_text(self.groups), markup=False)
            names = " · n names for [tui.keys] of t2v.toml" if is_wide else " · [tui.keys] of t2v.toml"
            yield Static(f"j k scroll · esc closes{names}", classes="hint", markup=False)

    def on_mount(self) -> None:
        """Fill in the two columns, if there are two."""
        self._fill()

    def _fill(self) -> None:
        for column, text in zip(self.query(".column").results(Static), self._columns(), strict=False):
            column.update(text)

    def _columns(self) -> tuple[Content, Content]:
        return in_columns([_lines(name, keys, shows_names=self.shows_names) for name, keys in self.groups if keys])

    def action_scroll(self, lines: int) -> None:
        """Scroll so many lines down, or up when negative."""
        self.query_one("#lines").scroll_relative(y=lines, animate=False)

    def action_name(self) -> None:
        """Show the names that [tui.keys] calls the keys by in place of what they do, or turn back."""
        self.shows_names = not self.shows_names
        self._fill()


def _title(name: str) -> str:
    """A screen by its tab, a pane by its name."""
    entry = entry_of(name)
    return entry.title if entry is not None else (name.removesuffix("-pane") or "everywhere").capitalize()


def _lines(name: str, keys: Sequence[Key], *, shows_names: bool) -> list[Content]:
    """The lines of one group: its title, and a line for each key, or two where the sentence is long."""
    lines = [Content.styled(_title(name), "bold")]
    for key in keys:
        what = [key.id] if shows_names else textwrap.wrap(key.what, COLUMN - KEY_CELLS - 2) or [""]
        lines.append(Content.assemble((f" {' '.join(key.all_shown):<{KEY_CELLS}} ", KEY_STYLE), what[0]))
        lines += [Content(f"{'':<{KEY_CELLS + 2}}{more}") for more in what[1:]]
    return lines


def in_columns(groups: Sequence[list[Content]]) -> tuple[Content, Content]:
    """Return two columns of about the same height; between groups where that costs little, else within one."""
    blocks = [[*(() if number == 0 else (Content(),)), *group] for number, group in enumerate(groups)]
    lines = [line for block in blocks for line in block]
    ends = [sum(map(len, blocks[: number + 1])) for number in range(len(blocks))]
    half = (len(lines) + 1) // 2
    cut = min(ends, key=lambda end: max(end, len(lines) - end), default=0)
    if max(cut, len(lines) - cut) > max(ROWS, half + 4):
        cut = half
    left, right = lines[:cut], lines[cut:]
    while right and not right[0].plain:
        right.pop(0)
    return Content("\n").join(left), Content("\n").join(right)


def help_text(groups: Sequence[tuple[str, Sequence[Key]]]) -> Content:
    """Return lines `t  start training …  start`: key, sentence, name for [tui.keys], on its own line if need be."""
    parts: list[Content | tuple[str, str] | str] = []
    for name, keys in groups:
        if not keys:
            continue
        parts.append((f"{_title(name)}\n", "bold"))
        for key in keys:
            room = HELP_WIDTH - len(key.what)
            id_ = f"{key.id:>{room}}\n" if len(key.id) + 2 <= room else f"\n{key.id:>{HELP_WIDTH + 12}}\n"
            parts += [(f"  {' '.join(key.all_shown):<9} ", KEY_STYLE), key.what, (id_, "$text-muted")]
        parts.append("\n")
    return Content.assemble(*parts)
