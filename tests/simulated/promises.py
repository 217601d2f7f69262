"""What docs/remote.md promises of jobs and of the guard, looked for after every step."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from remote.agent.base.files import Json, read_json
from remote.agent.jobs.endings import last_events
from remote.agent.jobs.last_words import awaits_room
from remote.agent.jobs.rows import state_of

from .answers import ANSWERED
from .guard_promises import the_guard
from .kernel import Livelock
from .steps import Client
from .truth import JobTruth, Question
from .world import LIVE, World

SLACK_S = 5.0
# A sentence of the agent's that says no, and is right in any state of the machine.
REFUSALS = ("asked-wrongly", "not-found")


def broken(world: World, client: Client) -> str:
    """The first promise that does not hold, in a sentence; "" when all do."""
    with world.observing():
        for what in (crashes, keys, questions, checkpoints, states, the_guard):
            if said := what(world, client):
                return said
    return world.truth.wrong[0] if world.truth.wrong else ""


def crashes(world: World, _: Client) -> str:
    for name, error in world.kernel.crashes:
        is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC and not isinstance(error, Livelock)
        if not is_full:
            at = error.__traceback__
            while at is not None and at.tb_next is not None:
                at = at.tb_next
            where = f"{at.tb_frame.f_code.co_filename.rpartition('/')[2]}:{at.tb_lineno}" if at else "?"
            return f"{name} breaks at {where}: {type(error).__name__}: {error}"
    return ""


def keys(world: World, client: Client) -> str:
    """One request is one job, in the answers and on the disk."""
    for question in world.truth.questions:
        key = client.asked.get(id(question))
        if key is not None and question.answer is not None and "ok" in question.answer:
            client.answers.setdefault(key, set()).add(question.answer["ok"]["job"])
    for (root, key), jobs in client.answers.items():
        if len(jobs) > 1:
            return f"{key} was answered by {sorted(jobs)}"
        for job in jobs:
            truth = world.truth.jobs.get(world.folder / root / "jobs" / job)
            if truth is None or not truth.is_there:
                return f"job {job}, which was promised, is not there"
    of_key: dict[tuple[str, str], str] = {}
    for truth in world.truth.jobs.values():
        if truth.is_there:
            place = (str(truth.directory.parent), truth.request["key"])
            if of_key.setdefault(place, truth.directory.name) != truth.directory.name:
                return f"{place[1]} is both {of_key[place]} and {truth.directory.name}"
    return ""


def questions(world: World, _: Client) -> str:
    """Each is answered in time, and by what was asked unless something was done to the machine meanwhile."""
    for one in world.truth.questions:
        until = one.answered_at if one.answer is not None else world.kernel.now
        if until - one.asked_at > one.deadline_s + SLACK_S and not (one.answer is None and one.is_over):
            return f"{one.verb} was asked {until - one.asked_at:.0f} s ago and had {one.deadline_s:.0f} s"
        if said := wrong_answer(world, one) or (ANSWERED[one.verb](world, one) if one.verb in ANSWERED else ""):
            return f"{one.verb} was answered: {said}"
    return ""


def wrong_answer(world: World, one: Question) -> str:
    error = (one.answer or {}).get("error")
    if not error or error["kind"] in REFUSALS:
        return ""
    is_of_code = "(agent, " in error["message"]
    faults = world.truth.faults + world.is_going_down + world.is_noticed + world.disk.is_full
    if is_of_code or (one.faults_before == 0 and faults == 0):
        return str(error["message"])
    return ""


def checkpoints(world: World, _: Client) -> str:
    for place, content in world.truth.checkpoints.items():
        try:
            is_whole = (place / "weights").read_text() == content and json.loads((place / "manifest.json").read_text())
        except (OSError, ValueError):
            is_whole = False
        if not is_whole:
            return f"{place.name} was complete, and is lost"
    return ""


def states(world: World, _: Client | None = None) -> str:
    for truth in world.truth.jobs.values():
        if is_as_it_was(truth) or not truth.is_there:
            continue
        word, ended = state_of(truth.directory)
        if (
            said := wrong_state(world, truth, word, ended)
            or wrong_exit(truth)
            or changed_word(truth, word, world.kernel.now)
        ):
            return f"{truth.directory.name} is {word} ({ended.get('reason', '')}): {said}"
    return ""


def is_as_it_was(truth: JobTruth) -> bool:
    """It had ended when it was looked at last, and nothing in its directory has another name or another end since."""
    if truth.last_word in (*LIVE, "") or not truth.exit_text or truth.is_at_work:
        return False
    try:
        seen = sorted(os.listdir(truth.directory)), (truth.directory / "exit.json").read_text()
    except OSError:
        return False
    is_same, truth.seen = seen == truth.seen, seen
    return is_same


def wrong_state(world: World, truth: JobTruth, word: str, ended: Json) -> str:
    """What contradicts what happened."""
    directory, is_over = truth.directory, word not in LIVE
    is_done = any(event.get("kind") == "done" for event in last_events(directory))
    has_exit, was_refused = (directory / "exit.json").exists(), ended.get("reason", "").startswith("not started: job")
    contradictions = (
        (is_over and truth.is_at_work, "its engine is at work"),
        (
            is_over and not has_exit and is_watched(world, directory) and not awaits_room(directory),
            "its supervisor has not said so yet",
        ),
        (word == "queued" and truth.begun > 0, "it was begun"),
        (word == "succeeded" and truth.code != 0 and not is_done, f"its engine ended by {truth.code}"),
        (word == "succeeded" and truth.request["is_engine"] and not is_done, "its events do not say done"),
        (word in ("failed", "stopped", "preempted", "lost") and is_done, "its events say done"),
        (was_refused and truth.begun > 0, "it was begun"),
        (
            word == "stopped" and not (was_refused or truth.was_asked_to_end or truth.had_accident),
            "nobody asked for that",
        ),
        (
            ended.get("reason", "").startswith("interrupted twice")
            and len(truth.graces_s) == 1
            and truth.graces_s[0] >= 10,
            "it was asked once, and had time",
        ),
        (word == "preempted" and not truth.was_preempted, "the machine was not preempted"),
        (word == "lost" and not truth.had_accident, "its supervisor saw its end"),
    )
    said = next((said for is_so, said in contradictions if is_so), "")
    return said or (wrong_refusal(world, truth) if was_refused else "")


def is_watched(world: World, directory: Path) -> bool:
    """By the supervisor that began it."""
    state = read_json(directory / "state.json") or {}
    one = None if state.get("is_taken_over") else world.kernel.processes.get(state.get("supervisor", 0))
    return one is not None and one.name == f"supervisor {directory.name}"


def wrong_refusal(world: World, mine: JobTruth) -> str:
    """What waits for a training that preemption ended waits for the one that goes on, unless another was asked for."""
    jobs = {one.directory: one for one in world.truth.jobs.values() if one.directory.parent == mine.directory.parent}
    first = jobs[mine.directory.parent / mine.request["after"]]
    if first.request["verb"] != "train":
        return ""
    resumed = [one for one in jobs.values() if one.request["key"] == f"resumed-{first.directory.name}"]
    if any(state_of(one.directory)[0] not in LIVE for one in resumed):  # its `last_word` may be of the look before
        return ""  # that one has its own end
    later = [one for one in jobs.values() if one.request["verb"] == "train" and one.accepted > first.accepted]
    others = [one for one in later if one not in resumed]
    if all(follows(jobs, one, first) for one in others) and first.last_word == "preempted" and others == [mine]:
        return f"{first.directory.name} may go on"
    return ""


def follows(jobs: dict[Path, JobTruth], one: JobTruth, first: JobTruth) -> bool:
    """It waits for the other, or for one that does."""
    after = one.request.get("after")
    before = jobs.get(first.directory.parent / after) if after else None
    return before is not None and (before is first or follows(jobs, before, first))


def wrong_exit(truth: JobTruth) -> str:
    """`exit.json` never changes."""
    try:
        text = (truth.directory / "exit.json").read_text()
    except OSError:
        text = ""
    if truth.exit_text and text != truth.exit_text:
        return f"exit.json was {truth.exit_text!r}, and is {text!r}"
    truth.exit_text = text
    return ""


def changed_word(truth: JobTruth, word: str, now: float) -> str:
    """One that has ended stays so, in the same way."""
    before, told_at, truth.last_word = truth.last_word, truth.told_at, word
    if word != before:
        truth.told_at = now
    if before == "lost" and word == "stopped" and truth.stop_asked_at <= told_at:
        return ""  # the request was on its way when it was lost
    if before and before not in LIVE and word != before:
        return f"it was {before}"
    return ""
