"""Two themes of our own, each with one accent; every theme of Textual's can be chosen as well."""

from __future__ import annotations

from dataclasses import replace

from textual.theme import Theme

# Green, yellow and red say how something is, and only that. What can be pressed, or is at work, is the accent.
DARK = Theme(
    name="t2v-dark",
    primary="#5fd0c5", secondary="#5fd0c5", accent="#5fd0c5",
    foreground="#d7dde4", background="#0e1116", surface="#151a21", panel="#1f2630",
    success="#7fc97f", warning="#e0b050", error="#ef6f6c",
    dark=True,
    variables={
        "text-muted": "#8793a0", "block-cursor-background": "#192e33", "block-cursor-foreground": "#e9f7f5",
        "block-cursor-text-style": "none", "block-cursor-blurred-background": "#1f2630",
        "block-cursor-blurred-foreground": "#d7dde4",
        "border": "#3a4653", "border-blurred": "#2a323d", "input-selection-background": "#5fd0c5 30%",
    },
)  # fmt: skip
LIGHT = Theme(
    name="t2v-light",
    primary="#08655f", secondary="#08655f", accent="#08655f",
    foreground="#1d2329", background="#fbfbf9", surface="#f1f1ec", panel="#e4e4dd",
    success="#23642a", warning="#754f00", error="#a5211a",
    dark=False,
    variables={
        "text-muted": "#545d66", "block-cursor-background": "#cfe4e1", "block-cursor-foreground": "#10211f",
        "block-cursor-text-style": "none", "block-cursor-blurred-background": "#e4e4dd",
        "block-cursor-blurred-foreground": "#1d2329",
        "border": "#b9bdb8", "border-blurred": "#d3d6d0", "input-selection-background": "#08655f 25%",
    },
)  # fmt: skip


def without_colour(theme: Theme) -> Theme:
    """Return the theme for NO_COLOR: the row with the cursor is reversed, since two greys are hardly told apart."""
    return replace(theme, variables=theme.variables | {"block-cursor-text-style": "reverse"})
