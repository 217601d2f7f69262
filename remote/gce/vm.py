"""A Compute Engine VM: how it stands, started, stopped, and by which keys its SSH server is known.

After any error the machine is looked at again before anybody is told: a start that failed may have left it running.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from remote.errors import CloudError, CloudUnreachable, MetadataChanged, StartLeft, Stockout, VmNotFound, VmRefused
from remote.gce.client import ComputeClient, compute
from remote.gce.errors import error_of_operation, may_pass
from remote.gce.list import what_is_near
from remote.gce.vm_state import ON_THE_WAY_DOWN, ON_THE_WAY_UP, SUSPENDED, VmState, host_keys_in, items_of, vm_state
from remote.power.machine import Tell, tell_nobody
from remote.steps import Status, StepState

STEP = "VM"
# Google's own VMs are up within one minute and down within two.
START_TIMEOUT_S, STOP_TIMEOUT_S, CHANGE_TIMEOUT_S = 300.0, 300.0, 60.0
# A request whose answer was lost shows in the VM's state by then, if it arrived.
UNSURE_S = 5.0
LOOKS_S = (0.1, 0.2, 0.5, 1.0, 2.0)
STOCKOUT_PAUSES_S = (10.0, 20.0, 40.0, 60.0)
METADATA_ATTEMPTS = 5


class Vm:
    """Implements `Machine`. Any thread may ask; nothing is held but the helper process, which all share.

    Every method raises CloudError or one of its kinds: LoginExpired, Forbidden, VmNotFound, CloudUnreachable, …
    """

    provider, has_own_limit, is_any_machine, stays_on = "Google Cloud", True, False, ""

    def __init__(self, name: str, project: str, zone: str, *, client: ComputeClient | None = None) -> None:
        self.name, self.project, self.zone = name, project, zone
        self.client = client or compute()
        self.is_start_asked = False

    @property
    def where(self) -> str:
        """Return its name, zone and project."""
        return f"VM {self.name} in {self.zone}, project {self.project}"

    def state(self) -> VmState:
        """Return how it stands now. One round trip."""
        return vm_state(self.said(), self.project, time.time())

    def said(self) -> dict[str, Any]:
        """Return all that the API says of it. VmNotFound tells what there is by a name like it."""
        try:
            return self._ask("get")
        except VmNotFound as error:
            raise VmNotFound(error.message, what_is_near(self.name, self.project, self.client) or error.hint) from error

    def _ask(self, verb: str, **parameters: Any) -> dict[str, Any]:
        return self.client.ask(verb, project=self.project, zone=self.zone, instance=self.name, **parameters)

    def _change(self, verb: str, **parameters: Any) -> dict[str, Any]:
        """The operation that it has become. The request id makes a second one with the same id do nothing."""
        return self._ask(verb, request_id=str(uuid.uuid4()), **parameters)

    def start(
        self, *, tell: Tell = tell_nobody, patience_s: float | None = None, cancelled: threading.Event | None = None
    ) -> VmState:
        """Bring it up, whatever it does just now, and return as soon as the API calls it RUNNING.

        tell:       hears each new state, and each attempt while the zone has no such machine available
        patience_s: for so long a stock-out is tried again; None: until somebody sets `cancelled`
        cancelled:       set by whoever does not wait any more: nothing is asked of the cloud from then on
        Raises Stockout when patience is over, QuotaExceeded at once, StartLeft soon after `cancelled` is set.
        """
        cancelled, began = cancelled or threading.Event(), time.monotonic()
        attempt = 0
        while True:
            try:
                state = self._up(tell, cancelled)
                self.is_start_asked = False
                return state
            except CloudError as error:
                self.is_start_asked = self.is_start_asked and (may_pass(error) or isinstance(error, StartLeft))
                if not isinstance(error, Stockout):
                    raise
                pause_s = STOCKOUT_PAUSES_S[min(attempt, len(STOCKOUT_PAUSES_S) - 1)]
                attempt += 1
                if patience_s is not None and time.monotonic() + pause_s > began + patience_s:
                    raise
                detail = f"{error.message}; attempt {attempt + 1} in {pause_s:.0f} s"
                tell(StepState(STEP, Status.DOING, detail, error.hint))
                if cancelled.wait(pause_s):
                    raise

    def _up(self, tell: Tell, cancelled: threading.Event) -> VmState:
        deadline = time.monotonic() + START_TIMEOUT_S
        state = self._settled(tell, deadline, cancelled)
        if state.is_running:
            return state
        operation = None
        if state.status not in ON_THE_WAY_UP:
            self.is_start_asked = True  # before the look at `cancelled`: whoever sets that looks at this afterwards
            self.is_start_asked = not cancelled.is_set()
            if not self.is_start_asked:
                raise StartLeft(f"{self.name} was not started: the start was cancelled")
            try:
                operation = self._change("resume" if state.status == SUSPENDED else "start")
            except CloudError as error:
                return self._state_or_raise(error, lambda now: now.is_running, ON_THE_WAY_UP, tell, deadline)
        return self._awaited(
            operation, lambda now: now.is_running, tell, deadline, told=state.status, cancelled=cancelled
        )

    def _settled(self, tell: Tell, deadline: float, cancelled: threading.Event) -> VmState:
        """One that is on its way down cannot be started before it is there."""
        state = self.state()
        if state.status not in ON_THE_WAY_DOWN:
            return state
        return self._awaited(None, lambda now: now.status not in ON_THE_WAY_DOWN, tell, deadline, cancelled=cancelled)

    def left(self) -> VmState:
        """Return how it stands once nobody waits for its start any more.

        A start that was asked for shows within moments.
        """
        until = time.monotonic() + UNSURE_S
        while True:
            state = self.state()
            is_settled = state.is_running or state.status in ON_THE_WAY_UP or not self.is_start_asked
            if is_settled or time.monotonic() > until:
                return state
            time.sleep(LOOKS_S[1])

    def stop(self, *, tell: Tell = tell_nobody) -> VmState:
        """Take it down, and return when the API says that it is off; only then has it stopped."""
        deadline = time.monotonic() + STOP_TIMEOUT_S
        state = self.state()
        if state.is_stopped:
            return state
        operation = None
        if state.status not in ON_THE_WAY_DOWN:
            try:
                operation = self._stop_asked(state.status, tell, deadline)
            except CloudError as error:
                return self._state_or_raise(error, lambda now: now.is_stopped, ON_THE_WAY_DOWN, tell, deadline)
        return self._awaited(operation, lambda now: now.is_stopped, tell, deadline, told=state.status)

    def _stop_asked(self, status: str, tell: Tell, deadline: float) -> dict[str, Any]:
        """One that is on its way up may refuse until it is there."""
        try:
            return self._change("stop")
        except VmRefused:
            if status not in ON_THE_WAY_UP:
                raise
        self._awaited(None, lambda now: now.status not in ON_THE_WAY_UP, tell, deadline)
        return self._change("stop")

    def _awaited(
        self,
        operation: Mapping[str, Any] | None,
        is_there: Callable[[VmState], bool],
        tell: Tell,
        deadline: float,
        *,
        told: str = "",
        cancelled: threading.Event | None = None,
    ) -> VmState:
        """Look until it is where it was to go. The client's own `result()` would ask another endpoint, for ever."""
        look, cancelled, has_come_up = 0, cancelled or threading.Event(), False
        while True:
            try:
                is_over, failed = self._outcome(operation)
                state = self.state()
            except CloudUnreachable as error:
                if time.monotonic() > deadline:
                    raise
                tell(StepState(STEP, Status.DOING, f"{error.message}; looking again"))
            else:
                if state.status != told:
                    told = state.status
                    tell(state)
                if is_there(state):
                    return state
                if failed is not None and state.status not in ON_THE_WAY_UP + ON_THE_WAY_DOWN:
                    raise failed
                if has_come_up and is_over and state.is_stopped:
                    raise CloudError(
                        f"{self.name} is {state.status} again: it was stopped or preempted while it came up",
                        "start it again",
                    )
                has_come_up = has_come_up or state.status in ON_THE_WAY_UP
                if time.monotonic() > deadline:
                    raise self._not_confirmed(state)
            if cancelled.wait(LOOKS_S[min(look, len(LOOKS_S) - 1)]):
                raise StartLeft(f"the wait for {self.name} was cancelled")
            look += 1

    def _outcome(self, operation: Mapping[str, Any] | None) -> tuple[bool, CloudError | None]:
        """(whether an operation is over, why it failed); one that the API has forgotten is over."""
        if operation is None:
            return True, None
        try:
            said = self._operation(operation)
        except VmNotFound:
            return True, None
        return said.get("status") == "DONE", error_of_operation(said, self.zone)

    def _operation(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        return self.client.ask("operation", project=self.project, zone=self.zone, operation=operation["name"])

    def _state_or_raise(
        self, error: CloudError, is_there: Callable[[VmState], bool], way: Sequence[str], tell: Tell, deadline: float
    ) -> VmState:
        """The state, when what failed has worked nevertheless; else the error. A lost answer says neither."""
        until = time.monotonic() + (UNSURE_S if may_pass(error) else 0.0)
        while True:
            is_last = time.monotonic() > until
            with suppress(CloudError):
                state = self.state()
                if is_there(state):
                    return state
                if state.status in way:
                    return self._awaited(None, is_there, tell, deadline)
                self.is_start_asked = self.is_start_asked and not is_last
            if is_last:
                raise error
            time.sleep(LOOKS_S[1])

    def _not_confirmed(self, state: VmState) -> CloudError:
        return CloudError(
            f"{self.name} is still {state.status} when it should be done by now; it may be running, and costing money",
            "t2v vm status shows its state",
        )

    def set_max_run(self, hours: float | None) -> bool:
        """Let the cloud itself stop it after so long; None: no such limit. False when it was so already.

        Raises VmRefused for one that runs: the API changes this of a stopped VM only.
        """
        seconds = 0 if hours is None else round(hours * 3600)
        if (self.state().max_run_s or 0) == seconds:
            return False
        self._done(self._change("set_scheduling", max_run_s=seconds))
        return True

    def _done(self, operation: Mapping[str, Any]) -> None:
        """Wait for an operation that changes no state. Raises what it failed with."""
        deadline, look = time.monotonic() + CHANGE_TIMEOUT_S, 0
        while (now := self._operation(operation)).get("status") != "DONE":
            if time.monotonic() > deadline:
                raise CloudError(f"{now.get('operationType')} of {self.name} is not done yet", "try again")
            time.sleep(LOOKS_S[min(look, len(LOOKS_S) - 1)])
            look += 1
        if (failed := error_of_operation(now, self.zone)) is not None:
            raise failed

    def host_keys(self) -> tuple[str, ...]:
        """Return the keys that its SSH server shows, `type base64` each, by the word of the API.

        () when it has none to tell.

        They are in the guest attributes when the VM's metadata had enable-guest-attributes at its first boot.
        """
        try:
            said = self._ask("guest_attributes", query_path="hostkeys/")
        except (VmNotFound, VmRefused):
            return ()
        return host_keys_in(said)

    def metadata(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return what is set for this VM, and what for its project."""
        project = self.client.ask("project", project=self.project)
        return items_of(self.said().get("metadata", {})), items_of(project.get("commonInstanceMetadata", {}))

    def add_metadata(self, changed: Callable[[dict[str, str]], dict[str, str]]) -> None:
        """Change the VM's own items; what others write at the same time stays."""
        for attempt in range(METADATA_ATTEMPTS):
            metadata = self.said().get("metadata", {})
            items = [{"key": key, "value": value} for key, value in changed(items_of(metadata)).items()]
            try:
                self._done(self._change("set_metadata", items=items, fingerprint=metadata.get("fingerprint", "")))
                return
            except MetadataChanged:
                if attempt + 1 == METADATA_ATTEMPTS:
                    raise
