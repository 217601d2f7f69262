"""A host: a place that can run the agent. This machine and one over SSH differ in how the bytes get there, only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from remote.errors import LinkLost
from remote.hosts.agent_client import Agent, Channel, ProcessChannel, agent_argv
from remote.hosts.settings import DEFAULTS, LOCAL, HostSettings
from t2v_core.workspace import Workspace


class Host(Protocol):
    """name: as in `[host.NAME]`, or `local`; settings: what that section says, else the defaults"""

    name: str
    settings: HostSettings

    @property
    def workdir(self) -> str:
        """Return the workspace there; `~` is the home folder there."""

    @property
    def engine_python(self) -> str:
        """Return the Python there that has the engine."""

    @property
    def is_managed(self) -> bool:
        """Tell whether the engine there is ours to install and to bring up to date."""

    def open(self, arguments: Sequence[str]) -> Channel:
        """Start the agent with constant words. Raises HostUnreachable or a kind of it, RemoteError."""

    @property
    def is_twin(self) -> bool:
        """Tell whether it was made for bulk, and no conversation is held up by that."""

    def twin(self, window_bytes: int) -> Host:
        """Return the same host over a connection of its own with so much on its way, for bulk."""

    def close(self) -> None:
        """End every conversation; jobs go on."""


class LocalHost:
    """This machine: the agent is a child process."""

    name = LOCAL
    is_managed = False
    is_twin = True

    def __init__(self, workspace: Workspace) -> None:
        self.settings = DEFAULTS
        self.workdir = str(workspace.root)
        self.engine_python = sys.executable

    def open(self, arguments: Sequence[str]) -> ProcessChannel:
        """Start the agent as a child process of this Python."""
        return ProcessChannel(agent_argv(arguments, sys.executable))

    def twin(self, window_bytes: int) -> LocalHost:  # pipes have no window
        """Return itself: pipes have no window."""
        return self

    def close(self) -> None:
        """Do nothing: each conversation is a child that ends with its channel."""


@contextmanager
def agent_on(host: Host) -> Iterator[Agent]:
    """Open an agent for some questions.

    Raises LinkLost where paramiko says EOFError: when a link breaks while something is sent, and again at the end.
    """
    agent = Agent(host.open(["serve"]), host.name)
    try:
        yield agent
    except EOFError as error:
        raise LinkLost(f"the connection to {host.name} is lost", "run it again: what has arrived is kept") from error
    finally:
        with suppress(EOFError, OSError):
            agent.close()
