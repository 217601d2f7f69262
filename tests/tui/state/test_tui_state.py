"""State, reducers and words of the terminal UI, without a terminal."""

from __future__ import annotations

import random
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from support.hosts.agent_here import wait_until
from support.screen.in_terminal import eventually, on_screen
from support.screen.tui_states import (
    COST,
    LIVE_RUN,
    LOCAL_HOST,
    NOW,
    ROW,
    RUN,
    RUNNING,
    STOPPED,
    UNREACHABLE,
    VM,
    empty,
    live,
    stopped,
)

from remote.power.state import Power
from remote.steps import Status, StepState
from t2v_core.events import CheckpointEvent, Event, ScoreEvent, StageEvent, StepEvent, WarningEvent
from t2v_core.workspace import Workspace
from t2v_tui.app import CockpitApp
from t2v_tui.cli.jobs.status import as_values
from t2v_tui.cli.jobs.status import in_lines as status_lines
from t2v_tui.messages import EventReceived
from t2v_tui.store.events import (
    HostsKnown,
    LaunchBegun,
    LaunchSaid,
    LaunchTurned,
    LinkReceived,
    News,
    Remembered,
    RowsReceived,
    RunEnded,
    RunPiece,
    VmReceived,
)
from t2v_tui.store.reducer import reduce
from t2v_tui.store.run_fold import Fold, joined
from t2v_tui.store.session import recall, remember
from t2v_tui.store.state import (
    HostKind,
    HostView,
    JobKey,
    LaunchPhase,
    LaunchView,
    LinkView,
    Reach,
    RunView,
    State,
    VmView,
)
from t2v_tui.text.event_log import Journal, line_of
from t2v_tui.text.exit_summary import farewell
from t2v_tui.text.headline import Tone, headline, in_one_line, truth
from t2v_tui.text.notifications import (
    alarms_between,
    as_window_title,
    ended_between,
    notification_of,
    run_hook,
    words_of_alarm,
)
from t2v_tui.widgets.pane import Pane
from t2v_tui.workers.launch_controller import Launcher, can_take_back
from t2v_tui.workers.launch_worker import Wanted


def text(pieces: tuple[list, list]) -> str:
    return "".join(piece.text for side in pieces for piece in side)


# What is known of a host


def test_a_lost_link_is_never_a_stopped_machine() -> None:
    is_so = truth(UNREACHABLE, NOW)
    assert (is_so.word, is_so.tone) == ("UNREACHABLE", Tone.WARN)
    assert "still costing" in is_so.detail
    assert truth(STOPPED, NOW).word == "STOPPED"  # the same silence, and the provider's word


def test_every_state_of_a_host_has_a_glyph_and_a_word_of_its_own() -> None:
    asking = replace(RUNNING, link=LinkView(Reach.ASKING), vm=VmView())
    starting = replace(STOPPED, vm=replace(STOPPED.vm, power=Power.STARTING))
    shown = [truth(host, NOW) for host in (RUNNING, UNREACHABLE, STOPPED, starting, asking)]
    assert len({one.glyph for one in shown}) == len({one.word for one in shown}) == 5


def test_the_headline_says_money_and_link_at_any_width_that_is_used() -> None:
    for width in (80, 100, 120, 200):
        said = text(headline(live(), NOW, width))
        assert "$3.69/h" in said, width
        assert "$12.41 today" in said, width
        assert "34 ms" in said, width
    assert "up 3h15m" in text(headline(live(), NOW, 120))


def test_what_matters_less_leaves_the_headline_first() -> None:
    wide, narrow = text(headline(live(), NOW, 200)), text(headline(live(), NOW, 112))
    assert "us-central1-a" in wide
    assert "us-central1-a" not in narrow
    assert "stops when idle" in narrow


def test_money_grows_while_the_machine_runs_and_stands_still_when_it_does_not() -> None:
    assert COST.today(NOW + 3590) == pytest.approx(12.4 + 3.69, abs=1e-6)
    still = replace(COST, usd_per_hour=0.0)
    assert still.today(NOW + 3600) == 12.4


def test_a_terminal_that_is_too_small_still_says_what_goes_on_and_costs() -> None:
    assert in_one_line(live(), 40, 10) == "terminal 40x10: t2v needs 60x15 · 1 job goes on · $3.69/h"


# Reducers


def test_the_state_of_a_link_lasts_since_it_began() -> None:
    state = State(Path("/w"), {VM: replace(RUNNING, link=LinkView(Reach.UP, 100.0, 100.0, 0.02))}, VM)
    for t in (110.0, 111.0, 112.0):
        state = reduce(state, LinkReceived(VM, LinkView(Reach.LOST, t, None, None, "it was cut")))
    link = state.hosts[VM].link
    assert (link.reach, link.since_t, link.seen_t, link.latency_s) == (Reach.LOST, 110.0, 100.0, 0.02)


def test_when_the_provider_does_not_answer_its_last_word_stays() -> None:
    state = reduce(live(), VmReceived(VM, VmView(problem="Google Cloud does not answer")))
    vm = state.hosts[VM].vm
    assert vm is not None
    assert (vm.power, vm.seen_t, vm.problem) == (Power.RUNNING, NOW - 12, "Google Cloud does not answer")


def test_a_job_that_its_host_no_longer_has_is_gone_and_others_stay() -> None:
    state = reduce(live(), RowsReceived(VM, (ROW,), NOW))
    assert set(state.jobs) == {RUN, JobKey("local", "20261125-014000-generate-77aa")}


def test_what_is_said_of_a_host_that_left_t2v_toml_changes_nothing() -> None:
    state = reduce(live(), HostsKnown((LOCAL_HOST,)))
    assert (list(state.hosts), state.host) == (["local"], "local")
    assert reduce(state, LinkReceived(VM, LinkView(Reach.UP, NOW, NOW))) is state


def test_a_launch_is_done_with_its_first_loss() -> None:
    launch = LaunchView("train", VM, LaunchPhase.WORKING, NOW)
    state = reduce(live(), LaunchBegun(launch))
    state = reduce(state, LaunchSaid(StepState("launch", Status.DONE, RUN.job)))
    state = reduce(state, LaunchTurned(LaunchPhase.WORKING, RUN))
    state = reduce(replace(state, runs={}), RunPiece(RUN, stage=("train", "tiny"), is_first=True))
    assert state.launch is not None
    assert state.launch.phase is LaunchPhase.WORKING
    state = reduce(state, RunPiece(RUN, steps=(1,), losses=(1.69,)))
    assert state.launch is not None
    assert state.launch.phase is LaunchPhase.DONE
    assert state.launch.steps[-1] == StepState("first loss", Status.DONE, "1.69")


def test_a_run_that_ends_before_its_first_loss_is_a_failed_launch_with_its_reason() -> None:
    state = reduce(live(), LaunchBegun(LaunchView("train", VM, LaunchPhase.WORKING, NOW, job=RUN)))
    ended = replace(ROW, state="failed", reason="out of memory", hint="a smaller batch")
    state = reduce(state, RunEnded(RUN, ended, NOW))
    assert state.launch is not None
    assert state.launch.failed_step == StepState("first loss", Status.FAILED, "out of memory", "a smaller batch")


def test_a_job_that_ends_is_told_once_and_one_that_had_ended_is_not() -> None:
    before = live()
    after = reduce(before, RunEnded(RUN, replace(ROW, state="succeeded", code=0), NOW))
    assert [job.key for job in ended_between(before, after)] == [RUN]
    assert list(ended_between(after, after)) == []
    assert list(ended_between(empty(), after)) == []


# Runs


def events(count: int) -> list[Event]:
    said: list[Event] = [StageEvent("train", "tiny", t=1000.0)]
    for step in range(1, count + 1):
        t = 1000.0 + step * 0.5
        said.append(StepEvent(step, count, step // 39 + 1, 2.0 / step, samples_per_s=60.0, t=t))
        if step % 10 == 0:
            said.append(ScoreEvent("held-out loss", 3.0 / step, step, t=t))
            said.append(CheckpointEvent(f"checkpoints/{step}", step=step, t=t))
    return said


def test_pieces_of_any_size_make_the_same_run() -> None:
    seed = random.randrange(10_000)
    chance, said = random.Random(seed), events(120)
    whole = Fold()
    for event in said:
        whole.take(event)
    expected = joined(RunView(), whole.piece(RUN, is_first=True))
    run, place = RunView(), 0
    while place < len(said):
        fold, size = Fold(), chance.randint(1, 30)
        for event in said[place : place + size]:
            fold.take(event)
        run, place = joined(run, fold.piece(RUN, is_first=False)), place + size
    assert run == expected, seed
    assert (run.done, run.total, run.rate, len(run.curve.steps)) == (120.0, 120.0, 2.0, 120)
    assert run.curve.checkpoints == tuple(range(10, 121, 10))


def test_a_torn_or_odd_event_neither_stops_the_fold_nor_enters_the_curve() -> None:
    fold = Fold()
    for fields in ({}, {"step": "x", "total": 3}, {"step": 3, "total": 9, "loss": "nan"}, {"step": 4, "total": 9}):
        event = Event.from_table({"t": 1.0, "kind": "step", **fields})
        assert event is not None
        fold.take(event)
    piece = fold.piece(RUN, is_first=False)
    assert (piece.steps, piece.losses, piece.count) == ((), (), (4.0, 9.0, "steps"))


def test_events_read_as_lines_and_warnings_as_loggers_say_them() -> None:
    step = StepEvent(12, 40, loss=0.0831, learning_rate=1e-4, grad_norm=0.42, t=NOW)
    assert line_of(step)[9:] == "step 12/40 loss 0.0831 lr 1.0e-04 gn 0.42"
    warning = WarningEvent("slow", "more workers", t=NOW)
    assert line_of(warning)[9:] == "WARN slow  → more workers"
    assert line_of(StageEvent("train", t=NOW))[9:] == "▸ train"


def test_a_journal_that_is_taken_up_again_has_every_line_once(tmp_path: Path) -> None:
    said, file = events(30), tmp_path / "a/journal.log"
    for upto in (7, 31, len(said)):  # the app was killed in between
        journal = Journal(file)
        for event in said[:upto]:
            journal.take(event)
        journal.close()
    file.write_bytes(file.read_bytes()[:-5])  # and once in the middle of a line
    journal = Journal(file)
    for _ in range(2):  # a link was lost: the follower begins anew
        journal.again()
        for event in said:
            journal.take(event)
    assert file.read_text().splitlines() == [line_of(event) for event in said]


# Launching


def told_by() -> tuple[Launcher, list[News]]:
    told: list[News] = []
    return Launcher(None, told.append, told.append), told


def begun(state: State, values: dict | None = None) -> LaunchView:
    launcher, told = told_by()
    launcher.begin(Wanted("train", VM, values or {}), state, NOW)
    assert isinstance(told[-1], LaunchBegun)
    return told[-1].launch


def test_what_will_cost_is_asked_first_and_what_costs_already_is_not() -> None:
    assert begun(stopped()).phase is LaunchPhase.ASKING
    assert begun(live()).phase is LaunchPhase.WORKING
    unknown = live(replace(RUNNING, vm=VmView()))
    assert begun(unknown).phase is LaunchPhase.ASKING


def test_the_same_key_twice_starts_one_job() -> None:
    launcher, told = told_by()
    launcher.begin(Wanted("train", VM, {}), live(), NOW)
    assert isinstance(told[0], LaunchBegun)
    launcher.begin(Wanted("train", VM, {}), replace(live(), launch=told[0].launch), NOW)
    assert len(told) == 1


def test_a_start_can_be_taken_back_until_its_job_has_run_for_a_moment() -> None:
    launch = LaunchView("train", VM, LaunchPhase.WORKING, NOW - 100)
    assert can_take_back(replace(live(), launch=launch), NOW)
    with_job = replace(live(), launch=replace(launch, job=RUN))
    assert not can_take_back(with_job, NOW)  # it runs since 690 s
    fresh = replace(with_job, jobs={RUN: replace(with_job.jobs[RUN], row=replace(ROW, queued_t=NOW - 1))})
    assert can_take_back(fresh, NOW)


# Leaving and coming back


def test_what_ends_is_told_in_words_that_no_terminal_obeys() -> None:
    ended = replace(
        live().jobs[RUN], row=replace(ROW, state="failed", reason="out\x1b]2;x\x07 of memory", hint="smaller")
    )
    title, text = notification_of(ended)
    assert title == f"✗ train failed on {VM}"
    assert text.endswith("smaller")
    assert as_window_title("a\x1b[31mb\x07") == "\x1b]2;t2v: a [31mb\x07"


def test_a_command_of_the_users_hears_what_ended(tmp_path: Path) -> None:
    script, out = tmp_path / "hook", tmp_path / "out"
    script.write_text(
        '#!/bin/sh\necho "$1 $T2V_JOB $T2V_HOST $T2V_STATE $T2V_VERB" > "$2.partial" && mv "$2.partial" "$2"\n'
    )
    script.chmod(0o755)
    run_hook(f"{script} 'two words' {out}", live().jobs[RUN])
    wait_until(out.exists)
    assert out.read_text() == f"two words {RUN.job} {VM} running train\n"


def with_alarm(**more: object) -> State:
    """The run has leapt two minutes ago, by its host's word."""
    alarm = {
        "t": NOW - 120, "kind": "alarm", "name": "loss-spike", "message": "the loss leapt to 9", "hint": "look",
        "step": 400, "clips": ["video7", "video9"],
    }  # fmt: skip
    return reduce(live(), RowsReceived(VM, (replace(ROW, alarm=alarm, **more),), NOW))  # type: ignore[arg-type]


def test_an_alarm_is_told_once_with_its_clips_and_one_that_stood_there_is_not(tmp_path: Path) -> None:
    before, after = live(), with_alarm()
    ((job, alarm),) = alarms_between(before, after)
    assert words_of_alarm(job, alarm) == (
        f"▲ loss-spike in train on {VM}", "the loss leapt to 9\nlook\nclips: video7, video9",
    )  # fmt: skip
    assert list(alarms_between(after, after)) == list(alarms_between(empty(), after)) == []
    out = tmp_path / "out"
    script = 'echo "$T2V_JOB $T2V_ALARM $T2V_TEXT $T2V_CLIPS" > "$0.partial" && mv "$0.partial" "$0"'
    run_hook(shlex.join(["sh", "-c", script, str(out)]), job, alarm)
    wait_until(out.exists)
    assert out.read_text() == f"{RUN.job} loss-spike the loss leapt to 9 video7,video9\n"


def test_status_has_the_alarm_under_its_job_for_ten_minutes_and_a_state_for_no_step() -> None:
    lines = "\n".join(status_lines(with_alarm(), NOW))
    assert f"({RUN.job})\n  ▲ loss-spike 2 min ago: the loss leapt to 9" in lines
    assert "▲" not in "\n".join(status_lines(with_alarm(), NOW + 600))
    still = with_alarm(without_step_s=75)
    line = next(line for line in status_lines(still, NOW) if RUN.job in line)
    assert line.startswith(f"◍ train stalled for 12 min on {VM}: no step for 1:15, 400 of 1404 steps, loss 0.0831")
    (values,) = [job for job in as_values(still, NOW)["jobs"] if job["job"] == RUN.job]
    assert (values["state"], values["without_step_s"], values["alarm"]["name"]) == ("stalled", 75, "loss-spike")


@on_screen
async def test_an_alarm_is_shown_and_stands_under_the_curve(tmp_path: Path) -> None:
    app = CockpitApp(Workspace(tmp_path), services=None, state=live(), now=lambda: NOW, first="train")
    async with app.run_test(size=(120, 40)) as pilot:
        row = with_alarm().jobs[RUN].row
        app.post_message(EventReceived(RowsReceived(VM, (row,), NOW)))
        await eventually(pilot, lambda: bool(app._notifications))
        await eventually(pilot, lambda: "▲ loss-spike" in str(app.screen.query_one("#main", Pane).border_subtitle))
        assert [one.title for one in app._notifications] == [f"▲ loss-spike in train on {VM}"]


def test_leaving_says_what_goes_on_what_it_costs_and_how_to_come_back() -> None:
    said = "\n".join(farewell(live(), NOW, "t2v-tui"))
    assert f"train running on {VM}: 400 of 1404 steps, loss 0.0831   (t2v attach {RUN.job})" in said
    assert f"{VM} is running, $3.69/h, $12.41 today, stops when idle   (t2v vm stop --host {VM})" in said
    assert said.endswith("Come back: t2v-tui")
    assert farewell(empty(), NOW, "t2v-tui") == []
    assert "a100-golden" not in "\n".join(farewell(stopped(), NOW, "t2v-tui"))
    heard_last = replace(stopped(), jobs=live().jobs)  # it was running when the machine was switched off
    assert farewell(heard_last, NOW, "t2v-tui") == []


def test_a_machine_that_is_not_heard_is_not_left_unsaid() -> None:
    assert f"{VM} is unreachable" in "\n".join(farewell(live(UNREACHABLE), NOW, "t2v-tui"))


def test_the_last_session_is_remembered_and_drawn_as_old(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    remember(workspace, live(), {"train": {"preset": "tiny"}})
    memory = recall(workspace)
    state = reduce(State(tmp_path), Remembered(memory.hosts, (), memory.host, memory.shown))
    assert (state.host, state.shown, memory.chosen) == (VM, RUN, {"train": {"preset": "tiny"}})
    is_so = truth(state.chosen, NOW + 3600)
    assert (is_so.word, is_so.detail) == ("WAS RUNNING", "known 60 min ago")


@pytest.mark.parametrize("content", [b"", b"{", b'{"hosts": 3}', b'{"hosts": {"a": {}}, "host": 1}', b"\xff"])
def test_a_damaged_memory_is_forgotten(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / ".t2v/tui/state.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert recall(Workspace(tmp_path)).hosts == {}


def test_an_ssh_host_that_never_answered_is_said_to_be_that() -> None:
    host = HostView("gpu", HostKind.SSH, "gpu", link=LinkView(Reach.LOST, NOW - 5, None, None, "no route"))
    assert truth(host, NOW).detail == "0:05 · never seen"
    assert LIVE_RUN.time_left_s is not None
