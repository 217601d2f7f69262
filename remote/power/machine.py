"""What a provider offers: one machine that it can look at, switch on and switch off."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from remote.power.state import MachineState
from remote.steps import StepState

Tell = Callable[[StepState | MachineState], None]


def tell_nobody(_: StepState | MachineState) -> None:
    """For whoever only wants the result."""


class Machine(Protocol):
    """One machine by name. Any thread may ask; every method raises CloudError or one of its kinds.

    name:           as the provider calls it
    provider:       who is asked, as a sentence names it
    is_start_asked: a start was asked of the provider, as far as is known it has not failed, and it cannot be taken back
    has_own_limit:  the provider stops it by itself after a time that `set_max_run` sets
    is_any_machine: what powers it off from within knows it by t2v.toml's word alone, not by its firmware
    """

    name: str
    provider: str
    is_start_asked: bool
    has_own_limit: bool
    is_any_machine: bool

    @property
    def stays_on(self) -> str:
        """Return why it is not to power itself off when it is idle; empty where nothing speaks against that."""
        ...

    @property
    def where(self) -> str:
        """Return where it is, in words, without asking anybody."""
        ...

    def state(self) -> MachineState:
        """Return how it stands now."""
        ...

    def start(self, *, tell: Tell = tell_nobody, cancelled: threading.Event | None = None) -> MachineState:
        """Bring it up, whatever it does just now, and return as soon as the provider calls it running.

        tell: hears each new state, and each attempt
        cancelled: set by whoever does not wait any more: nothing is asked of the provider from then on
        Raises StartLeft soon after `cancelled` is set.
        """
        ...

    def stop(self, *, tell: Tell = tell_nobody) -> MachineState:
        """Take it down, and return when the provider says that it is off; only then has it stopped."""
        ...

    def left(self) -> MachineState:
        """Return how it stands once nobody waits for its start any more. May take some seconds."""
        ...

    def set_max_run(self, hours: float | None) -> bool:
        """Let the provider itself stop it after so long; None: no such limit. False when nothing was to change."""
        ...
