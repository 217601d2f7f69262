"""One start of work at a time: begun, agreed to, cancelled, tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from remote.power.state import Power
from remote.steps import Status, StepState
from t2v_core.format import usd
from t2v_tui.store.events import LaunchBegun, LaunchClosed, LaunchLeft, LaunchQueued, LaunchTurned
from t2v_tui.store.state import HostKind, HostView, LaunchPhase, LaunchView, State
from t2v_tui.text.estimate import gpu_in_table
from t2v_tui.workers.estimate import Estimating
from t2v_tui.workers.launch_worker import Launch, Wanted
from t2v_tui.workers.services import Services
from t2v_tui.workers.streams import Tell

# For so long after it began, `esc` ends the job again; nothing of it is lost, since the engine still loads.
TAKE_BACK_S = 3.0
MOST_VALUES = 5
# What a screen sets and nobody has chosen.
OWN_VALUES = ("preview", "keep_existing")
ESTIMATE_AFTER_S = 1.5
OVER = (LaunchPhase.DONE, LaunchPhase.FAILED, LaunchPhase.CANCELLED)


@dataclass
class Launcher:
    """tell: on the screen's side; from_thread: what the threads tell with; started: called with what begins now

    waiting: starts that come after this one
    """

    services: Services | None
    tell: Tell
    from_thread: Tell
    started: Callable[[Wanted], None] = lambda _: None
    wanted: Wanted | None = None
    launch: Launch | None = None
    estimating: Estimating | None = None
    waiting: list[Wanted] = field(default_factory=list)

    def begin(self, wanted: Wanted, state: State, now_t: float) -> None:
        """Start at once where that costs nothing more than it does already; else ask for an explicit yes.

        While another start is on its way to its job, this one waits for that; the same once more does nothing.
        """
        if not _is_on_its_way(state.launch):
            self._begin(wanted, state, now_t)
        elif not self._is_asked_twice(wanted):
            self.waiting.append(wanted)
            self.tell(LaunchQueued(len(self.waiting)))

    def _is_asked_twice(self, wanted: Wanted) -> bool:
        """The same key twice; of trainings, with whatever settings."""
        before = [*([self.wanted] if self.wanted else []), *self.waiting]
        return wanted in before or (wanted.verb == "train" and any(one.verb == "train" for one in before))

    def go_on(self, state: State, now_t: float) -> None:
        """Begin the start that waits; on the host of the one before it, which runs by then, it asks nothing."""
        if self.waiting:
            paid = self.wanted.host if self.wanted else ""
            self._begin(self.waiting.pop(0), state, now_t, paid=paid)

    def _begin(self, wanted: Wanted, state: State, now_t: float, *, paid: str = "") -> None:
        self._close()
        self.wanted = wanted
        host = state.hosts.get(wanted.host) or HostView(wanted.host, HostKind.LOCAL)
        asks = will_bill(host) and wanted.host != paid
        phase = LaunchPhase.ASKING if asks else LaunchPhase.WORKING
        title, waiting = title_of(wanted, host), len(self.waiting)
        self.tell(
            LaunchBegun(
                LaunchView(
                    wanted.verb, wanted.host, phase, now_t, title, screen=wanted.screen, waiting=waiting
                )
            )
        )  # fmt: skip
        if self.services is None:
            return
        if wanted.verb == "train":
            after_s = 0.0 if phase is LaunchPhase.ASKING else ESTIMATE_AFTER_S
            self.estimating = Estimating(
                wanted, self.services, self.from_thread, price_of(host), gpu_of(host), after_s=after_s
            )
            self.estimating.start()
        if phase is LaunchPhase.WORKING:
            self._start()

    def _start(self) -> None:
        assert self.services is not None
        assert self.wanted is not None
        self.launch = Launch(self.wanted, self.services, self.from_thread)
        self.launch.start()
        self.started(self.wanted)

    def agree(self, state: State) -> None:
        """Start what costs, after a yes."""
        if state.launch is not None and state.launch.phase is LaunchPhase.ASKING:
            self.tell(LaunchTurned(LaunchPhase.WORKING))
            if self.services is not None:
                self._start()

    def again(self, state: State, now_t: float, **otherwise: Any) -> None:
        """Start everything from the beginning, which is always safe; what is there already is quick.

        otherwise: settings that are to be others this time
        """
        is_over = state.launch is not None and state.launch.phase in (LaunchPhase.FAILED, LaunchPhase.CANCELLED)
        if is_over and self.wanted is not None:
            wanted = replace(self.wanted, values={**self.wanted.values, **otherwise})
            self.begin(wanted, state, now_t)

    def leave(self, state: State, now_t: float) -> bool:
        """Cancel what can still be, and what waits for it; else only close the panel. False when there is none."""
        launch = state.launch
        if launch is None:
            return False
        self.waiting.clear()
        if launch.phase in OVER or not can_take_back(state, now_t):
            self._close()
            self.tell(LaunchClosed())
            return True
        has_begun, host = self.launch is not None, state.hosts.get(launch.host)
        if self.launch is not None:
            self.launch.take_back()
        self._close()
        self.tell(LaunchTurned(LaunchPhase.CANCELLED, launch.job))
        if has_begun and host is not None and host.vm is not None and not host.vm.is_simulated:
            self.tell(LaunchLeft(host.name, StepState("VM", Status.DOING, "checking whether it started anyway")))
        return True

    def _close(self) -> None:
        for stream in (self.launch, self.estimating):
            if stream is not None:
                stream.close()
        self.launch = self.estimating = None


def _is_on_its_way(launch: LaunchView | None) -> bool:
    return launch is not None and launch.phase is LaunchPhase.WORKING and launch.job is None


def will_bill(host: HostView) -> bool:
    """Tell whether work that goes there starts a bill, as on a VM that is not known to run."""
    return host.kind is HostKind.VM and (host.vm is None or host.vm.power is not Power.RUNNING)


def can_take_back(state: State, now_t: float) -> bool:
    """Tell whether the start can be taken back: always before the job runs, afterwards for a few seconds."""
    launch = state.launch
    if launch is None or launch.phase in OVER:
        return False
    if launch.job is None:
        return True
    job = state.jobs.get(launch.job)
    began_t = job.row.began_t if job and job.row.began_t else launch.began_t
    return now_t - max(began_t, launch.began_t) < TAKE_BACK_S


def price_of(host: HostView) -> float | None:
    """Return US dollars an hour while it runs; None when nobody knows."""
    return host.cost.up_usd_per_hour if host.cost else None


def gpu_of(host: HostView) -> str:
    """Return the GPU of another machine, in the words of the estimator's table; empty when it is not known.

    Empty for this machine too: the engine looks at it itself.
    """
    if host.kind is HostKind.LOCAL or (host.vm is not None and host.vm.is_simulated):
        return ""
    if host.vm is not None and host.vm.gpus:
        return gpu_in_table(host.vm.gpus.partition("× ")[2])
    gpus = host.machine.gpus if host.machine else ()
    return (gpus[0].name or "").removeprefix("NVIDIA ").partition("-")[0] if gpus else ""


def title_of(wanted: Wanted, host: HostView) -> str:
    """Return `train on a100-golden · ~$3.67/h`, and below it what was chosen."""
    chosen_ones = {name: value for name, value in wanted.values.items() if name not in OWN_VALUES and value is not None}
    values = [f"{name.replace('_', ' ')} {_value_text(value)}" for name, value in chosen_ones.items()]
    price = (
        [f"{'~' if host.cost and host.cost.is_estimate else ''}{usd(host.cost.up_usd_per_hour)}/h"] if host.cost else []
    )
    chosen = " · ".join(values[:MOST_VALUES]) + (f" · {len(values) - MOST_VALUES} more" if values[MOST_VALUES:] else "")
    head = " · ".join([f"{wanted.verb} on {wanted.host}", *price])
    others = "; p chooses others" if wanted.verb == "train" else ""
    return f"{head}\n{chosen or f'settings of t2v.toml{others}'}"


def _value_text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"…{text[-23:]}"
