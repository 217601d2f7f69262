"""Two themes of our own, each with one accent; every theme of Textual's can be chosen as well."""

from __future__ import annotations

from textual.theme import Theme

# Green, yellow and red say how something is, and only that. What can be pressed, or is at work, is the accent.
DARK = Theme(
    name="t2v-dark",
    primary="#5fd0c5", secondary="#5fd0c5", accent="#5fd0c5",
    foreground="#d7dde4", background="#0e1116", surface="#151a21", panel="#1f2630",
    success="#7fc97f", warning="#e0b050", error="#ef6f6c",
    dark=True,
    variables={
        "text-muted": "#8793a0", "block-cursor-background": "#24434a", "block-cursor-foreground": "#e9f7f5",
        "block-cursor-text-style": "none", "block-cursor-blurred-background": "#1f2630",
        "block-cursor-blurred-foreground": "#d7dde4",
        "border": "#3a4653", "border-blurred": "#2a323d", "input-selection-background": "#5fd0c5 30%",
    },
)  # fmt: skip
LIGHT = Theme(
    name="t2v-light",
    primary="#0b7a75", secondary="#0b7a75", accent="#0b7a75",
    foreground="#1d2329", background="#fbfbf9", surface="#f1f1ec", panel="#e4e4dd",
    success="#2f7d32", warning="#9a6a00", error="#b3261e",
    dark=False,
    variables={"text-muted": "#616a73"},
)  # fmt: skip
