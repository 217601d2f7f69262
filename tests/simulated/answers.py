"""Whether an answer that came fits what really happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .truth import Question
from .world import World


def status(world: World, one: Question) -> str:
    """Every job of the workspace that was there when it was asked, and no other."""
    rows = {row["job"]: row for row in (one.answer or {}).get("ok", {}).get("jobs", [])}
    jobs = Path(one.asked["workspace"]) / "jobs"
    missing = [job for job in one.known if job not in rows]
    if missing and one.answer is not None and "ok" in one.answer:
        return f"without {missing[0]}"
    for job, row in rows.items():
        if jobs / job not in world.truth.jobs:
            return f"with {job}, of which only half is there ({row['state']})"
    return ""


def stop(world: World, one: Question) -> str:
    """Nothing is left of a job that was stopped; another workspace's is not stopped unless that is meant."""
    said = (one.answer or {}).get("ok")
    if said is None:
        return ""
    truth = world.truth.jobs[Path(one.asked["workspace"]) / "jobs" / one.asked["job"]]
    if not one.asked["is_anyones"] and truth.request["by"]["id"] != one.asked["by"]["id"]:
        return "it ended a job of another workspace"
    if said["left"]:
        return f"{said['left']} are left"
    if truth.is_at_work:
        return "and the engine is at work"
    return ""


ANSWERED: dict[str, Callable[[World, Question], str]] = {"status": status, "stop": stop}
