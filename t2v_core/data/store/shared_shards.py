"""The planned shards of one split, dealt out among the processes of a run as each gets done with its last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from t2v_core.data.store.shard_plan import PlannedShard, SplitPlan
from t2v_core.processes.process_group import ProcessGroup

# Told to the first process by whichever finds out: which clip is to be left out, and why.
Report = dict[str, Any]


class SharedShards:
    """One process's view of what all of them make together.

    name: of this part of the work, such as "latents train"
    unit: what is counted, such as "clips"
    on_report: what the first process does with a report; where there are any
    """

    def __init__(
        self, name: str, unit: str, plan: SplitPlan, group: ProcessGroup, on_report: Callable[[Report], None] | None
    ) -> None:
        self.name, self.unit, self.plan, self.group, self.on_report = name, unit, plan, group, on_report
        self._shown = -1

    def begin(self) -> None:
        """Announce the stage, with how much is to be encoded and how much is there."""
        missing = self.plan.total - self.plan.done
        detail = f"{missing} {self.unit} to encode, {self.plan.ready} already there"
        self.group.job.events.stage(self.name, detail)

    def take(self) -> Iterator[PlannedShard]:
        """Yield the shards that are this process's to make: the next one that nobody has, whenever it asks."""
        while (number := self.group.take(self.name)) < len(self.plan.shards):
            yield self.plan.shards[number]

    def report(self, report: Report) -> None:
        """Tell the first process about a clip that is to be left out, and why."""
        self.group.tell(self.name, report)

    def advance(self, amount: int) -> None:
        """Count so many more clips or captions as done."""
        self._show(self.plan.done + self.group.count(f"{self.name} done", amount))

    def finish(self) -> None:
        """Count one more shard as written."""
        self.group.count(f"{self.name} shards", 1)

    def wait(self) -> None:
        """Wait until every shard is written, by whomever; the first process alone needs to. Raises as `wait_until`."""

        def are_all_there() -> bool:
            if self.group.count(f"{self.name} shards") == len(self.plan.shards):
                return True
            self.advance(0)
            return False

        self.group.wait_until(are_all_there)
        self._show(self.plan.total)

    def _show(self, done: int) -> None:
        if not self.group.is_first:
            return
        if self.on_report is not None:
            for report in self.group.hear(self.name):
                self.on_report(report)
        if done != self._shown:
            self.group.job.events.progress(done, self.plan.total, self.unit)
        self._shown = done
