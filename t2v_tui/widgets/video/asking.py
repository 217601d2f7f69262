"""An app that asks its terminal which pictures it can show, and draws them in pixels where it can."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from textual import on, work
from textual.app import App
from textual.driver import Driver
from textual.events import Resize
from textual.screen import Screen

from t2v_tui import pasted
from t2v_tui.terminal import CELL, Answered, Terminal, around_tmux, first_known

if TYPE_CHECKING:
    from t2v_tui.widgets.video.pictures import Pictures


class PictureApp(App[str]):
    """pictures: how they reach the terminal; None until it has answered, which is half blocks"""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: Pictures | None = None
        self.terminal = Terminal()
        self._wanted = "blocks"

    def get_driver_class(self) -> type[Driver]:
        """Return the usual driver, which from now on tells keys from pasted text and from answers."""
        driver = super().get_driver_class()
        pasted.install()
        return driver

    def ask_for_pictures(self, wanted: str) -> None:
        """Ask the terminal, unless half blocks are wanted. wanted: a Way's value, or auto"""
        from textual.drivers.linux_driver import LinuxDriver  # the one that tells answers from keys; tests have others

        # Numbers of pictures are colours, which NO_COLOR makes grey and 16 colours do not hold.
        has_colours = not self.no_color and self.console.color_system not in (None, "standard")
        if wanted != "blocks" and has_colours and isinstance(self._driver, LinuxDriver):
            self._wanted = wanted
            self.app_resume_signal.subscribe(self, lambda _: self._forget_pictures())
            self.terminal = first_known(sys.__stdin__.fileno() if sys.__stdin__ else 0, os.environ)
            self._say(self.terminal.questions)
            self._choose()

    @work(exclusive=True, group="terminal")
    async def _ask_tmux(self) -> None:
        """By now tmux knows what is around it: that has answered its question before ours."""
        name, has_sixel = await around_tmux(os.environ)
        self.terminal = replace(self.terminal, name=name, around_has_sixel=has_sixel)
        self._choose()

    @on(Answered)
    def _learn(self, message: Answered) -> None:
        """Take up what the terminal says, whose characters may also have another size than a moment ago."""
        before, self.terminal = self.terminal, self.terminal.with_reply(message.reply)
        can = [(one.has_kitty, one.has_sixel) for one in (before, self.terminal)]
        if self.terminal.is_tmux and can[0] != can[1]:
            self._ask_tmux()
        elif self.terminal != before:
            self._choose()

    def _choose(self) -> None:
        if self._wanted == "blocks":
            return
        from t2v_tui.widgets.video.pictures import BLOCKS, pictures_for  # after the first paint, which shows none
        from t2v_tui.widgets.video.player import Player
        from t2v_tui.widgets.video.sheet import Sheet

        chosen = pictures_for(self.terminal, self._wanted, self._say)
        if chosen.is_like(self.pictures or BLOCKS):
            return
        self._forget_pictures()
        self.pictures = chosen
        for stack in self._screen_stacks.values():
            for screen in stack:
                for widget in (*screen.query(Player), *screen.query(Sheet)):
                    widget.pictures_changed()

    @on(Resize)
    def _ask_again(self) -> None:
        """A window that changes its size may have got other characters."""
        if self.pictures is not None and self.pictures.is_sharp:
            self._say(CELL)

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Write what is drawn, as ever, and then the pixels over it: Textual has no other door for those."""
        super()._display(screen, renderable)
        if self.pictures is not None and renderable is not None:
            self.pictures.repaint(renderable)

    def _say(self, sequences: str) -> None:
        if self._driver is not None:
            self._driver.write(sequences)

    def on_unmount(self) -> None:
        """Leave no picture in the terminal's memory."""
        self._forget_pictures()

    def _forget_pictures(self) -> None:
        if self.pictures is not None:
            self.pictures.close()
