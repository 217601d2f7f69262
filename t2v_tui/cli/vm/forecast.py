"""What a training will cost on a VM: from an estimate before anybody starts it, and from its own pace once it runs."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from remote.cost.meter import HostCost, RunForecast, forecast_run
from remote.cost.prices import Price
from remote.errors import RemoteError
from remote.hosts.host import Host
from remote.power.host import switched
from remote.power.state import MachineState
from remote.steps import Status, StepState
from t2v_core.errors import EngineError
from t2v_core.events import Event, StepEvent
from t2v_core.events.estimated import Estimated
from t2v_core.format import duration, limit, usd
from t2v_core.specs import EstimateSpec, Spec, TrainSpec
from t2v_core.workspace import Workspace
from t2v_tui.cli.narrate import Pace
from t2v_tui.text.estimate import gpu_in_table, reckoned, sentences
from t2v_tui.text.job_words import counted

# The first steps are slow: kernels are chosen, caches are filled.
TELLING_S = 30.0
PAST_S = 120.0  # what was said before is heard again by whoever attaches; two clocks may differ


def cost_of_run(host: Host, workspace: Workspace, total_s: float | None, known: MachineState | None = None) -> str:
    """Return a sentence; "" when the host is not paid by the hour, or how long it takes is not known.

    known: of a VM that is off
    """
    machine = switched(host)
    if machine is None or total_s is None:
        return ""
    try:
        vm = known or machine.state
        price = HostCost.of(workspace, host.name, machine.settings).price(vm)
    except RemoteError as error:
        return f"what it costs is not known: {error.message}"
    is_counting = vm.is_running and vm.last_start_t is not None
    hours_up = max(0.0, time.time() - (vm.last_start_t or 0.0)) / 3600 if is_counting else 0.0
    cap_h = machine.settings.max_run_h
    return forecast_words(forecast_run(total_s / 3600, price, hours_up=hours_up, max_run_h=cap_h), price, cap_h)


class Beforehand:
    """Reckons here what a whole training takes and costs, while its VM comes up; nothing when the data is not here."""

    def __init__(self, host: Host, workspace: Workspace) -> None:
        self._host, self._workspace = host, workspace
        self._vm: MachineState | None = None
        self._result: Estimated | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def after(self, step: StepState, spec: Spec) -> str:
        """Return a sentence as soon as there is one to say, once. step: of the launch"""
        if self._thread is None and isinstance(spec, TrainSpec) and step.name == "VM" and step.status is Status.DOING:
            self._begin(spec)
        result, self._result = self._result, None
        if result is None or not result.data.is_preprocessed:
            return ""
        cost = cost_of_run(self._host, self._workspace, result.total_s, self._vm)
        return f"{sentences(result, None)[0]}: {cost}" if cost else ""

    def close(self) -> None:
        """End the estimate: nobody wants it any more."""
        self._is_closed = True

    def _begin(self, spec: TrainSpec) -> None:
        if (machine := switched(self._host)) is not None:
            self._vm = machine.vm.state()
            gpu = gpu_in_table(self._vm.gpus[0][0]) if self._vm.gpus else None
            asked = EstimateSpec(**spec.model_dump(exclude_defaults=True), probe=False, gpu=gpu)
            self._thread = threading.Thread(target=self._reckon, args=(asked,), name="estimate", daemon=True)
            self._thread.start()

    def _reckon(self, asked: EstimateSpec) -> None:
        with suppress(EngineError):  # the training itself says what is wrong with what was asked
            self._result = reckoned(self._workspace, asked, lambda: self._is_closed)


class Forecast:
    """Says once what the rest of a training will cost, by its own pace; nothing where nobody pays by the hour."""

    def __init__(self, host: Host, workspace: Workspace) -> None:
        self._host, self._workspace, self._pace = host, workspace, Pace()
        self._first_t: float | None = None
        self._is_said = False

    def of(self, event: Event) -> str:
        """Return a sentence, or "" when there is none to say now."""
        count = counted(event) if isinstance(event, StepEvent) and not self._is_said else None
        if count is None:
            return ""
        self._pace.report(event.t, count[0])
        self._first_t = event.t if self._first_t is None else self._first_t
        rate = self._pace.per_s()
        is_past = time.time() - event.t > PAST_S
        if rate is None or event.t - self._first_t < TELLING_S or is_past:
            return ""
        self._is_said = True
        left_s = (count[1] - count[0]) / rate
        cost = cost_of_run(self._host, self._workspace, left_s)
        return f"{duration(left_s)} to go: {cost.replace(' in all', ' for that', 1)}" if cost else ""


def forecast_words(forecast: RunForecast, price: Price, cap_h: float) -> str:
    """Return `about $71.50 in all, at $3.71 an hour (est.); …`"""
    about = " (est.)" if price.is_estimate else ""
    cap = (
        f"; it stops {limit(cap_h * 3600)} after its start, before that is done: raise max_run_h"
        if forecast.is_beyond_cap
        else ""
    )
    return f"about {usd(forecast.usd)} in all, at {usd(price.usd_per_hour)} an hour{about}{cap}"
