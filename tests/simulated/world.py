"""The machine with its agent: clients that ask, a timer that looks, a power button; and what really happened."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remote.agent import __main__ as serving
from remote.agent.base.files import read_json
from remote.agent.guard import busy
from remote.agent.guard import timer as guard_timer
from remote.agent.guard import watch as guard
from remote.agent.guard.rules import LAST_WORD_S
from remote.agent.jobs import preemption, rows

from . import engine
from .calls import Calls
from .disk import Disk
from .kernel import Kernel, Process, Task
from .programs import ENVIRONMENT, Child
from .truth import JobTruth, Question, Truth

DEADLINES_S = {"status": 15.0, "start": 45.0, "request": 15.0, "resume_preempted": 45.0, "keep": 30.0, "guard": 30.0,
               "install_guard": 300.0}  # fmt: skip
STOP_MORE_S = 120.0
GOING_DOWN_S, NOTICE_S = 25.0, 30.0
IDLE_STOP_MIN, MAX_RUN_H = 5.0, 0.25
NO_GUARD, WATCHED, TIMED = "no guard", "a process looks", "a timer looks"
LIVE = ("queued", "starting", "running")


class World:
    def __init__(self, folder: Path, seed: int, guard_by: str) -> None:
        self.folder, self.guard_by = folder, guard_by
        self.chance = random.Random(seed)
        self.memory = folder / "run"
        for one in (folder / "home", folder / "w0" / "jobs", folder / "w1" / "jobs"):
            one.mkdir(parents=True)
        if guard_by == TIMED:
            self.memory.mkdir()
        self.kernel = Kernel()
        self.disk = Disk(self.memory, lambda: self.kernel.now, self.chance, self.asking)
        self.calls = Calls(self.kernel, self.disk, self.chance)
        self.calls.exec, self.calls.popen, self.calls.has_named = self.exec, self.popen, self.has_named
        self.kernel.on_end, self.kernel.cut = self.has_ended, self.cut
        self.truth = Truth()
        self.agents: dict[int, Process] = {}
        self.watchers: list[tuple[Process, Path]] = []
        self.is_on, self.is_going_down, self.is_noticed = False, False, False
        self.busy_until, self.asked_at, self.kept_until, self.guard_was_hurt = 0.0, 0.0, 0.0, False
        self.observer = Process(self.kernel, 2, 1, "observer", {}, [])
        self.seen_by_observer = Task(self.observer, lambda: None, 0.0, 0)

    # The machine

    def boot(self) -> None:
        kernel = self.kernel
        kernel.booted, kernel.boots, kernel.next_pid = kernel.now, kernel.boots + 1, 300
        (self.folder / "boot_id").write_text(f"boot-{kernel.boots}\n")
        self.is_on, self.is_going_down, self.is_noticed, self.watchers = True, False, False, []
        self.busy_until, self.kept_until, self.guard_was_hurt = kernel.now, 0.0, False
        if self.guard_by == TIMED:
            for one in self.memory.rglob("*"):
                if one.is_file():
                    one.unlink()
            self.init("timer", self.look_every_minute)

    def init(self, name: str, work: Callable[[], object]) -> Process:
        return self.kernel.begin(name, work, environment={}, argv=["init"])

    def look_every_minute(self) -> None:
        while True:
            self.kernel.wait(self.kernel.now + 60.0)
            self.look()

    def look(self) -> None:
        said: list[Any] = []
        self.kernel.begin(
            "guard", lambda: guard_timer.guard_look(said.append), environment=ENVIRONMENT, argv=["t2v_agent"]
        )

    def off(self) -> None:
        """Every process ends; nobody is told."""
        with self.kernel.outside():
            for truth in self.truth.jobs.values():
                truth.had_accident |= truth.is_at_work or not truth.has_exit
            self.truth.faults += 1
            self.is_on = False
        while self.kernel.processes:
            self.kernel.end(next(iter(self.kernel.processes.values())), int(signal.SIGKILL))
        self.kernel.zombies.clear()

    def cut(self) -> None:
        """The power goes."""
        self.off()
        with self.kernel.outside():
            for path in map(Path, self.disk.lose_what_was_not_synced()):
                self.truth.checkpoints.pop(path, None)
                if path.name == "exit.json" and path.parent in self.truth.jobs:
                    self.truth.jobs[path.parent].exit_text = ""
            for truth in list(self.truth.jobs.values()):
                if not truth.is_there:
                    del self.truth.jobs[truth.directory]  # nobody was told of it yet
                if not truth.has_exit:
                    truth.last_word = ""  # it was told from events that may not have been on the disk

    def go_down(self, *, comes_back: bool) -> None:
        """In order: everybody is told, and after a while ended."""
        if self.is_going_down or not self.is_on:
            return
        self.is_going_down = True
        self.truth.faults += 1

        def down() -> None:
            self.kernel.wait(self.kernel.now + GOING_DOWN_S)
            self.off()
            self.disk.all_is_written()
            if comes_back:
                with self.kernel.outside():
                    self.boot()

        shutdown = self.init("shutdown", down)
        with self.kernel.outside():
            for truth in self.truth.jobs.values():
                truth.was_asked_to_end |= not truth.has_exit
        for one in list(self.kernel.processes.values()):
            if one not in (shutdown,) and one.name != "timer" and one.pid in self.kernel.processes:
                self.tell(one, signal.SIGTERM)

    def tell(self, one: Process, number: signal.Signals) -> None:
        if self.kernel.current is not None and self.kernel.current.process is one and one.handlers.get(number) is None:
            return
        self.kernel.send(one.pid, number)

    def power_off(self) -> None:
        self.judge_power_off()
        self.go_down(comes_back=False)

    def judge_power_off(self) -> None:
        up_s = self.kernel.now - self.kernel.booted
        if up_s >= MAX_RUN_H * 3600 - 1 or self.is_going_down:
            return
        with self.kernel.outside():
            work = [one.directory.name for one in self.truth.jobs.values() if self.is_work(one)]
        if work:
            self.truth.wrong.append(f"the guard powers off after {up_s:.0f} s while {', '.join(work)} runs or waits")
        idle_s = self.kernel.now - self.busy_until
        if idle_s < IDLE_STOP_MIN * 60 - 65:
            self.truth.wrong.append(f"the guard powers off when it was idle for {idle_s:.0f} s only")

    def is_work(self, one: JobTruth) -> bool:
        """A job that runs, wherever; one that waits in a workspace that the guard knows."""
        waits = not one.begun and not any((one.directory / name).exists() for name in ("exit.json", "state.json"))
        return one.is_at_work or (waits and one.directory.parent.parent.name == "w0")

    def preempt(self, *, is_told_to_end: bool) -> None:
        """The notice, and half a minute later the end."""
        if self.is_noticed or not self.is_on or self.is_going_down:
            return
        self.is_noticed = True
        self.truth.faults += 1
        for process, directory in self.watchers:
            if process.ended is None:
                self.kernel.thread(process, lambda directory=directory: preemption.tell_job(directory), 0.05)
        for truth in self.truth.jobs.values():
            truth.was_preempted |= truth.is_at_work or not truth.has_exit

        def end() -> None:
            self.kernel.wait(self.kernel.now + NOTICE_S)
            self.cut()

        self.init("preemption", end)
        if is_told_to_end:
            self.go_down(comes_back=False)

    def watch_for_preemption(self, directory: Path) -> None:
        process = self.kernel.current.process  # type: ignore[union-attr]
        self.watchers.append((process, directory))
        if self.is_noticed:
            self.kernel.thread(process, lambda: preemption.tell_job(directory), 0.05)

    # Programs

    def exec(self, argv: list[str]) -> int:
        directory = Path(argv[-1])
        truth = self.truth.jobs[directory]
        truth.begun += 1
        truth.was_preempted |= self.is_noticed
        truth.engine, truth.boot = self.kernel.current.process, self.kernel.boots  # type: ignore[union-attr]
        self.judge_beginning(truth)
        return engine.main(argv)

    def judge_beginning(self, mine: JobTruth) -> None:
        if mine.begun > 1:
            self.truth.wrong.append(f"{mine.directory.name} was begun {mine.begun} times")
        if mine.request["after"] and not self.has_succeeded(mine.directory.parent / mine.request["after"]):
            self.truth.wrong.append(f"{mine.directory.name} begins, and what it waits for has not succeeded")
        if not mine.request["needs_gpu"]:
            return
        for other in self.truth.jobs.values():
            is_beside = (
                other.directory.parent == mine.directory.parent and other.request["needs_gpu"] and other is not mine
            )
            if is_beside and other.is_at_work:
                self.truth.wrong.append(f"{mine.directory.name} begins while {other.directory.name} has the GPU")
            with self.kernel.outside():
                waits = not other.begun and not any(
                    (other.directory / name).exists() for name in ("exit.json", "stop", "state.json")
                )
            if is_beside and waits and self.truth.turn(other) < self.truth.turn(mine):
                self.truth.wrong.append(f"{mine.directory.name} begins before {other.directory.name}, which was first")

    def has_succeeded(self, directory: Path) -> bool:
        """It, or the one that goes on with it after a preemption."""
        truth = self.truth.jobs[directory]
        later = [one.directory for one in self.truth.jobs.values() if one.request["key"] == f"resumed-{directory.name}"]
        with self.kernel.outside():
            said = (read_json(directory / "exit.json") or {}).get("code") == 0
        return truth.code == 0 or said or any(map(self.has_succeeded, later))

    def popen(self, argv: list[str], **_: Any) -> Child:
        return Child(self, argv)

    def has_named(self, path: str) -> None:
        """A file has got its name."""
        place = Path(path)
        place = place.parent if place.name == "request.json" else place
        if place.parent.name == "jobs" and rows.JOB_ID.fullmatch(place.name) and (place / "request.json").exists():
            with self.kernel.outside():
                request = read_json(place / "request.json") or {}
            known = self.truth.jobs.get(place)
            accepted = known.accepted if known else len(self.truth.jobs)
            self.truth.jobs[place] = known or JobTruth(place, request, accepted, was_asked_to_end=self.is_going_down)
        elif place.name == "exit.json":
            self.busy_until = self.kernel.now
        elif place.name in ("stop", "ended-by") and place.parent in self.truth.jobs:
            self.truth.jobs[place.parent].was_asked_to_end = True
        elif place.name.startswith("checkpoint_"):
            with self.kernel.outside():
                self.truth.checkpoints[place] = (place / "weights").read_text()

    def asking(self) -> Process | None:
        """Return the process whose call the machine answers; None while the test itself is at work."""
        return self.kernel.current.process if self.kernel.current is not None else None

    def has_ended(self, process: Process) -> None:
        if self.is_on and process.ended == signal.SIGKILL:
            self.disk.was_killed(process)
        for truth in self.truth.jobs.values():
            if truth.engine is process:
                truth.code = process.ended
                is_near_cap = self.kernel.now - self.kernel.booted > MAX_RUN_H * 3600 - LAST_WORD_S - 1
                truth.was_asked_to_end |= self.is_going_down or is_near_cap
                self.busy_until = self.kernel.now
            if process.name == f"supervisor {truth.directory.name}" and process.ended != 0:
                truth.had_accident = True

    # Clients

    def agent(self, client: int) -> Process:
        known = self.agents.get(client)
        if known is not None and known.ended is None:
            return known
        rows.ENDED_ROWS.clear()
        guard.MARK = busy.BusyMark()

        def serve() -> None:
            guard_timer.tend_guard()
            new.said.append("open")
            self.kernel.wait_until(lambda: False)

        new = self.kernel.begin("agent", serve, environment={}, argv=["t2v_agent"])
        self.agents[client] = new
        return new

    def ask(self, client: int, verb: str, deadline_s: float | None = None, /, **asked: Any) -> Question:
        """Put a question; it is answered while the machine runs."""
        if not self.is_on:
            self.boot()
        by = {"id": f"{client + 1:016x}", "name": f"somebody:/home/{client}"}
        agent = self.agent(client)
        question = Question(verb, {**asked, "by": by}, self.kernel.now, deadline_s or deadline_s_of(verb), agent)
        jobs = Path(str(asked.get("workspace"))) / "jobs"
        question.known = tuple(
            place.name for place, one in self.truth.jobs.items() if place.parent == jobs and one.is_there
        )
        if verb not in guard.WATCHING:
            self.asked_at = self.kernel.now
        if verb == "keep":
            self.kept_until = max(self.kept_until, self.kernel.now + asked["seconds"] + deadline_s_of(verb))
        question.faults_before = self.truth.faults + self.is_going_down + self.is_noticed + self.disk.is_full
        self.truth.questions.append(question)
        number = len(self.truth.questions) - 1
        line = json.dumps({"id": number, "ask": verb, "with": question.asked}).encode()

        def answer() -> None:
            self.kernel.wait_until(lambda: bool(agent.said))
            serving.answer(line)

        self.kernel.thread(agent, answer)
        return question

    def hear(self, said: dict[str, Any]) -> None:
        question = self.truth.questions[said["id"]]
        question.answer, question.answered_at = said, self.kernel.now
        if question.verb == "status" and "ok" in said:
            jobs = Path(question.asked["workspace"]) / "jobs"
            for row in said["ok"]["jobs"]:
                self.is_told(self.truth.jobs.get(jobs / row["job"]), row["state"], row["reason"])

    def is_told(self, truth: JobTruth | None, word: str, reason: str) -> None:
        """A client was told that a job has ended: from now on it has."""
        if truth is None or word in LIVE:
            return
        was_on_its_way = (truth.last_word, word) == ("lost", "stopped") and truth.stop_asked_at <= truth.told_at
        if truth.last_word not in (*LIVE, "", word) and not was_on_its_way:
            self.truth.wrong.append(
                f"{truth.directory.name} is told to be {word} ({reason}), and was {truth.last_word}"
            )
        truth.last_word = word

    def wait_for(self, question: Question) -> dict[str, Any] | None:
        self.kernel.run(question.deadline_s + 1, lambda: question.is_over)
        return question.answer

    @contextmanager
    def observing(self) -> Iterator[None]:
        """While inside, look at the machine by its own clock and process table, in no time."""
        changes, self.kernel.current = self.kernel.changes, self.seen_by_observer
        try:
            yield
        finally:
            self.kernel.current, self.kernel.changes = None, changes


def deadline_s_of(verb: str) -> float:
    return DEADLINES_S[verb]
