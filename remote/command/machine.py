"""A machine behind three commands: how it stands, started, stopped. Since when it runs, the ledger here remembers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from remote.command.answer import Answer, power_of, read_answer
from remote.command.run import Command
from remote.cost.ledger import Ledger
from remote.errors import ProviderFailed, StartLeft, VmRefused
from remote.hosts.settings import HostSettings
from remote.power.machine import Tell, tell_nobody
from remote.power.state import MachineState, Power
from remote.steps import Status, StepState
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace

STEP = "VM"
STATUS_TIMEOUT_S = 60.0
# A command may wait until the machine is there, and one at home may check its disks before that.
CHANGE_TIMEOUT_S = START_TIMEOUT_S = STOP_TIMEOUT_S = 600.0
# What a start has begun shows by then to whoever has left it.
UNSURE_S = 5.0
ENDED_S = 4.0  # by then a start command that was left has ended
LOOKS_S = (0.2, 0.5, 1.0, 2.0, 5.0)
MOST_FAILURES = 5  # one after the other, while it comes up or goes down: a network that changes with it passes


@dataclass(frozen=True, kw_only=True)
class CommandState(MachineState):
    """How a machine stands by its own command's word."""

    @property
    def power(self) -> Power:
        """Return what that word means."""
        return power_of(self.status) or Power.UNKNOWN


class CommandMachine:
    """Implements `Machine`. Any thread may ask; each question is a process of its own, and nothing is held.

    Every method raises ProviderFailed for a command that fails, hangs, or says what nobody understands.
    """

    has_own_limit = False
    is_any_machine = True

    def __init__(self, name: str, settings: HostSettings, workspace: Workspace) -> None:
        """Take the commands of `[host.NAME]`. Raises InvalidRequest when there is no status_command."""
        if settings.status_command is None:
            hint = 'add status_command = "…", which prints running or stopped'
            raise InvalidRequest(f'[host.{name}] has provider = "command" and no status_command', hint)
        self.name, self.settings, self.workspace = name, settings, workspace
        self.provider = f"the status_command of {name}"
        self.is_start_asked = False
        self._status = self._command("status_command", settings.status_command, STATUS_TIMEOUT_S)
        self._ledger = Ledger.of(workspace, name)
        self._was_off = False  # since this was made: a session that the ledger has as open has ended then
        self._up_t: float | None = None
        self._has_ended = threading.Event()
        self._has_ended.set()

    def _command(self, setting: str, line: str, timeout_s: float) -> Command:
        return Command(setting, line, self.name, self.workspace.root, timeout_s)

    @property
    def stays_on(self) -> str:
        """Return why it may not power itself off: nobody here could start it again; empty when somebody can."""
        return "" if self.settings.start_command else "it has no start_command, so nobody here could start it again"

    @property
    def where(self) -> str:
        """Return what looks at it."""
        return f"{self.name}, by {self._status.line}"

    def state(self) -> CommandState:
        """Run the status command, and return what it says."""
        return self._as_state(read_answer(self._status.output(), str(self._status)))

    def _as_state(self, said: Answer) -> CommandState:
        """With what it does not say: it runs since it was started from here, or was seen to run; the ledger has it."""
        now_t, last = time.time(), next(reversed(self._ledger.sessions()), None)
        start_t = last.started_t if last is not None else None
        if said.power is Power.STOPPED:
            self._was_off, self._up_t = True, None
        elif said.power is Power.RUNNING and (self._was_off or last is None or last.stopped_t is not None):
            self._up_t = self._up_t or now_t
            start_t = max(self._up_t, start_t or 0.0) if last is not None and last.stopped_t is None else self._up_t
        return CommandState(
            name=self.name, id=self.name, status=said.word, machine_type=said.machine, seen_t=now_t,
            address=said.address, gpus=tuple(Counter(said.gpus).items()), last_start_t=start_t,
            last_stop_t=last.stopped_t if last is not None and last.is_exact else None, usd_per_hour=said.usd_per_hour,
        )  # fmt: skip

    def start(self, *, tell: Tell = tell_nobody, cancelled: threading.Event | None = None) -> CommandState:
        """Bring it up by its start command, and look until it is called running, for ten minutes at most.

        Raises StartLeft soon after `cancelled` is set, which ends a start command that is still at it; VmRefused where
        there is none.
        """
        cancelled = cancelled or threading.Event()
        state = self.state()
        if state.power is Power.STOPPING:
            state = self._awaited(lambda now: now.power is not Power.STOPPING, START_TIMEOUT_S, tell, state, cancelled)
        if state.power in (Power.STOPPED, Power.UNKNOWN):
            self._ask_to_start(tell, cancelled)
        state = self._awaited(lambda now: now.is_running, START_TIMEOUT_S, tell, state, cancelled)
        self.is_start_asked = False
        return state

    def _ask_to_start(self, tell: Tell, cancelled: threading.Event) -> None:
        command = self._command("start_command", self._needed("start"), CHANGE_TIMEOUT_S)
        self._has_ended.clear()
        try:
            self.is_start_asked = True  # before the look at `cancelled`: whoever sets that looks at this afterwards
            self.is_start_asked = not cancelled.is_set()
            if not self.is_start_asked:
                raise StartLeft(f"{self.name} was not started: the start was cancelled")
            tell(StepState(STEP, Status.DOING, f"its start_command runs: {command.line}"))
            self._up_t = time.time()
            self._run(command, (Power.STARTING, Power.RUNNING), cancelled)
        finally:
            self._has_ended.set()

    def _run(self, command: Command, way: Sequence[Power], cancelled: threading.Event | None = None) -> None:
        """A command that failed may have done it all the same: then how the machine stands says so."""
        try:
            command.output(cancelled)
        except ProviderFailed as failed:
            try:
                is_on_its_way = self.state().power in way
            except ProviderFailed:
                raise failed from None
            self.is_start_asked = self.is_start_asked and is_on_its_way
            if not is_on_its_way:
                raise

    def stop(self, *, tell: Tell = tell_nobody) -> CommandState:
        """Take it down by its stop command, and look until it is called off, for ten minutes at most.

        Raises VmRefused without a stop command.
        """
        state = self.state()
        if state.is_stopped:
            return state
        if state.power is not Power.STOPPING:
            command = self._command("stop_command", self._needed("stop"), CHANGE_TIMEOUT_S)
            tell(StepState(STEP, Status.DOING, f"its stop_command runs: {command.line}"))
            self._run(command, (Power.STOPPING, Power.STOPPED))
        state = self._awaited(lambda now: now.is_stopped, STOP_TIMEOUT_S, tell, state)
        return replace(state, last_stop_t=max(state.seen_t, state.last_start_t or 0.0))

    def _needed(self, what: str) -> str:
        line: str | None = getattr(self.settings, f"{what}_command")
        if line is None:
            hint = f'add {what}_command = "…" to [host.{self.name}], or {what} it by hand'
            raise VmRefused(f"t2v.toml does not say how to {what} {self.name}: it has no {what}_command", hint)
        return line

    def left(self) -> CommandState:
        """Return how it stands once nobody waits for its start any more; a start that was asked shows in seconds."""
        self._has_ended.wait(ENDED_S)
        until = time.monotonic() + UNSURE_S
        while True:
            state = self.state()
            is_settled = state.power in (Power.RUNNING, Power.STARTING) or not self.is_start_asked
            if is_settled or time.monotonic() > until:
                return state
            time.sleep(LOOKS_S[1])

    def set_max_run(self, hours: float | None) -> bool:  # there is nobody to tell it to
        """Change nothing: a command is no cloud that would keep such a limit."""
        return False

    def _awaited(
        self, is_there: Callable[[CommandState], bool], timeout_s: float, tell: Tell, told: CommandState,
        cancelled: threading.Event | None = None,
    ) -> CommandState:  # fmt: skip
        """Look until it is where it was to go, and tell each new word. Raises StartLeft, ProviderFailed."""
        cancelled, look, deadline = cancelled or threading.Event(), 0, time.monotonic() + timeout_s
        failed = 0
        while True:
            try:
                state, failed = self.state(), 0
            except ProviderFailed as error:
                if (failed := failed + 1) == MOST_FAILURES:
                    raise
                tell(StepState(STEP, Status.DOING, f"{error.message}; looking again"))
            else:
                if state.status != told.status:
                    tell(told := state)
                if is_there(state):
                    return state
            if time.monotonic() > deadline:
                sentence = f"{self.name} is still {told.status} after {timeout_s / 60:.0f} minutes"
                raise ProviderFailed(
                    f"{sentence}; it may be running, and costing money", "t2v vm status shows how it is"
                )
            if cancelled.wait(LOOKS_S[min(look, len(LOOKS_S) - 1)]):
                raise StartLeft(f"the wait for {self.name} was cancelled")
            look += 1
