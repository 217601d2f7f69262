"""What really happened on the machine, noted by whoever saw it and not by the agent."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .kernel import Process


@dataclass(eq=False)
class JobTruth:
    """accepted: its place in the order of those that were taken; begun: how often its program was"""

    directory: Path
    request: dict[str, Any]
    accepted: int
    begun: int = 0
    engine: Process | None = None
    boot: int = 0
    code: int | None = None  # as os.waitpid has it
    was_asked_to_end: bool = False
    was_preempted: bool = False
    had_accident: bool = False
    graces_s: list[float] = field(default_factory=list)
    stop_asked_at: float = math.inf
    told_at: float = 0.0
    seen: tuple[list[str], str] | None = None
    exit_text: str = ""
    last_word: str = ""

    @property
    def is_there(self) -> bool:
        """Whether all of its directory is."""
        return os.path.exists(f"{self.directory}/request.json")

    @property
    def has_exit(self) -> bool:
        return os.path.exists(f"{self.directory}/exit.json")

    @property
    def is_at_work(self) -> bool:
        return self.engine is not None and self.engine.ended is None


@dataclass(eq=False)
class Question:
    """What a client asked. answer: what came; None until then, and for ever if its agent ended"""

    verb: str
    asked: dict[str, Any]
    asked_at: float
    deadline_s: float
    agent: Process | None = None
    answer: dict[str, Any] | None = None
    answered_at: float = 0.0
    faults_before: int = 0
    known: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        return self.answer is not None or (self.agent is not None and self.agent.ended is not None)


@dataclass
class Truth:
    """faults: how many things were done to the machine that may cost an answer"""

    jobs: dict[Path, JobTruth] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    checkpoints: dict[Path, str] = field(default_factory=dict)
    faults: int = 0
    wrong: list[str] = field(default_factory=list)

    def turn(self, one: JobTruth) -> tuple[int, ...]:
        """The order in which jobs are begun: as they were taken, but what waits for a training comes after whoever goes
        on with it."""
        mine = (one.accepted,)
        after = one.request.get("after")
        first = self.jobs.get(one.directory.parent / after) if after else None
        return mine if first is None else max(mine, self.turn(self.latest(first)) + mine)

    def latest(self, one: JobTruth) -> JobTruth:
        """Return the job that goes on with it, after however many preemptions."""
        key, place = f"resumed-{one.directory.name}", one.directory.parent
        later = [
            other for other in self.jobs.values() if other.request["key"] == key and other.directory.parent == place
        ]
        return self.latest(later[0]) if later else one
