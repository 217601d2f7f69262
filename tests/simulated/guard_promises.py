"""What docs/remote.md promises of the guard: it powers off when it should, and only then."""

from __future__ import annotations

from .world import IDLE_STOP_MIN, MAX_RUN_H, TIMED, WATCHED, World

EVERY_S = 60.0
# A look that was killed is made up for by the next; what was asked a moment ago counts as work for 90 s.
LATER_S = 5 * EVERY_S


def the_guard(world: World, _: object) -> str:
    if world.guard_by not in (TIMED, WATCHED) or not world.is_on or world.is_going_down:
        return ""
    kernel = world.kernel
    at_work_since = kernel.booted
    if world.guard_by == WATCHED:
        watches = [
            one.begun_at for one in kernel.processes.values() if one.name == "guard" and one.argv[-1] == "guard-watch"
        ]
        if not watches:
            return ""
        at_work_since = min(watches)
    up_s, cap_s = kernel.now - kernel.booted, MAX_RUN_H * 3600
    if up_s > cap_s + 1.5 * EVERY_S and kernel.now - at_work_since > 1.5 * EVERY_S:
        return f"the machine is up for {up_s:.0f} s, and its cap is {cap_s:.0f} s"
    works = any(world.is_work(one) for one in world.truth.jobs.values())
    idle_s = 0.0 if works else kernel.now - max(world.busy_until, world.asked_at, world.kept_until, at_work_since)
    if idle_s > IDLE_STOP_MIN * 60 + LATER_S and not world.guard_was_hurt:
        return f"the machine is idle for {idle_s:.0f} s, and is not powered off"
    return ""
