"""All jobs of every host: how each stands, why it ended, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message

from t2v_core.errors import EngineError
from t2v_core.format import ago, duration
from t2v_tui.keys import bindings_for
from t2v_tui.library.asked import asked_in_words
from t2v_tui.messages import Failed, GoTo, ShowJob, StopWork
from t2v_tui.screens.bases.listing_screen import ListingScreen
from t2v_tui.store.order import Order
from t2v_tui.store.state import HostKind, JobKey, JobView, Reach, State
from t2v_tui.text.headline import truth
from t2v_tui.text.job_words import JOB_GLYPHS, alarm_in_words, job_in_words
from t2v_tui.text.unreachable import instead_of_empty, not_heard
from t2v_tui.widgets.chrome import STYLES, Block
from t2v_tui.widgets.entry_line import EntryLine
from t2v_tui.widgets.lists import ListTable, MadeOf
from t2v_tui.widgets.pane import Pane
from t2v_tui.widgets.rows import RowList

if TYPE_CHECKING:
    from t2v_tui.workers.services import Services

COLUMNS = (("state", 12), ("  since", 7), ("verb", 11), ("host", 14), ("details", None))
COLOURS = {"running": "accent", "starting": "accent", "succeeded": "success", "failed": "error", "lost": "error",
           "preempted": "warning", "stalled": "warning"}  # fmt: skip
EMPTY = """No jobs yet, on any host.

t   starts a training          4   makes a video
6   prepares a data set        h   chooses the host

Whatever is started by t2v, here or from a shell, appears here, and is still here after a restart."""


def _by_place(job: JobView) -> tuple[int, float]:
    """What is at work, what waits in the order of the queue, then what has ended, newest first."""
    row = job.row
    if row.has_ended:
        return 2, -row.began_t
    return (1, row.place_in_queue or row.began_t) if row.state == "queued" else (0, -row.began_t)


ORDERS: Mapping[str, Order[JobView]] = {
    "turn": Order(_by_place),
    "age": Order(lambda job: job.row.began_t, largest_first=True),
    "state": Order(lambda job: job.row.word),
    "verb": Order(lambda job: job.row.verb),
    "host": Order(lambda job: job.key.host),
}


class JobsTable(ListTable):
    PANE = "jobs-list"


class AskedRead(Message):
    """What jobs were asked for, in words."""

    def __init__(self, asked: Mapping[JobKey, str]) -> None:
        super().__init__()
        self.asked = asked


class JobsScreen(ListingScreen):
    """asked: what jobs were asked for, in words, of those that it was read of; empty while it is read"""

    NAME = "jobs"
    ITEMS = "jobs"
    ORDERS = ORDERS
    CSS_PATH = "jobs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("jobs")]

    def __init__(self) -> None:
        super().__init__()
        self._about: JobKey | None = None
        self._count = 0  # of the rows that are listed
        self._made_of = MadeOf()
        self.asked: dict[JobKey, str] = {}
        self._asks_hosts: set[JobKey] = set()  # whose hosts were asked already

    def body(self) -> ComposeResult:
        """Lay out the list of jobs over what is known of the chosen one."""
        with Pane(id="jobs-box"):
            yield JobsTable(COLUMNS, id="jobs")
            yield Block(id="no-jobs", classes="empty")
            yield EntryLine(id="entry-line")
        yield Block(id="about", classes="pane")

    def on_mount(self) -> None:
        """Put the focus on the list."""
        self.table.focus()

    def show(self, state: State, now_t: float) -> None:
        """Draw the jobs and what is known of the chosen one; the rows only when something is new."""
        table = self.table
        heard = " ".join(f"{host.name} {truth(host, now_t).glyph} {host.link.reach}" for host in state.hosts.values())
        ages = int(now_t) if state.alive else 0  # of what runs in seconds
        is_older = self._made_of.is_older(now_t)
        if self._made_of.is_new(state.jobs, heard, ages, self.app.theme, self.listing_changes) or is_older:
            ordered = {_row_of(job.key): job for job in self.listed(state.jobs.values(), self._said_of)}
            self._count = len(ordered)
            table.show_items(
                ordered, lambda job: _job_row(job, state, now_t, self._colour(job), self.asked.get(job.key, ""))
            )
        table.stand_back(is_hidden=not self._count)
        nothing = self.query_one("#no-jobs", Block)
        nothing.display = not self._count
        none_fits = self.none_fits(len(state.jobs)) if state.jobs else ""
        silence = instead_of_empty(list(state.hosts.values()), "its jobs", now_t)
        nothing.show(Content(none_fits or silence or EMPTY))
        self.query_one(Pane).entitle(self.in_words("jobs", self._count, len(state.jobs)) if state.jobs else "jobs")
        self._show_about(state, now_t)
        self._find_asked(state)

    def _said_of(self, job: JobView) -> dict[str, str]:
        return said_of(job, self.asked.get(job.key, ""))

    def _find_asked(self, state: State) -> None:
        """Of all jobs what lies here; of those in sight what their hosts say, where these are heard."""
        services, table = self.cockpit.services, self.table
        if services is None:
            return
        unread = [key for key in state.jobs if key not in self.asked]
        in_sight = [_key_of(table.keys[row]) for row in table.in_sight]
        far = [
            key for key in in_sight if not self.asked.get(key) and _is_heard(key, state) and key not in self._asks_hosts
        ]
        if unread or far:
            self.asked.update(dict.fromkeys(unread, ""))
            self._asks_hosts.update(far)
            self._read_asked(services, unread, far, {key: job.row.verb for key, job in state.jobs.items()})

    @work(thread=True, group="asked", exit_on_error=False)
    def _read_asked(
        self, services: Services, here: Sequence[JobKey], far: Sequence[JobKey], verbs: Mapping[JobKey, str]
    ) -> None:
        from t2v_tui.workers.asked_for import kept_spec_of, spec_of  # which reads hosts: nobody draws with it

        found = {key: asked_in_words(verbs[key], kept_spec_of(services, key)) for key in here}
        self.post_message(AskedRead(found))
        more = {}
        for key in far:
            if not found.get(key):
                try:
                    more[key] = asked_in_words(verbs.get(key, ""), spec_of(services, key))
                except EngineError:  # it is not heard any more, which the headline says
                    break
        self.post_message(AskedRead(more))

    @on(AskedRead)
    def _take_asked(self, message: AskedRead) -> None:
        if news := {key: words for key, words in message.asked.items() if self.asked.get(key) != words}:
            self.asked |= news
            self.listing_changes += 1
            self.redraw()

    @property
    def table(self) -> JobsTable:
        """Return the list of jobs."""
        return self.query_one(JobsTable)

    def _colour(self, job: JobView) -> str:
        return self.app.theme_variables.get(COLOURS.get(job.row.word, ""), "")

    def _show_about(self, state: State, now_t: float) -> None:
        job, about = self._chosen(state), self.query_one("#about", Block)
        about.display = job is not None
        if job is not None:
            if self._about != job.key:
                self._about = job.key
                about.border_title = Content(job.key.job)
            about.show(about_job(job, state, now_t, about.size.width - 2, asked=self.asked.get(job.key, "")))

    def _chosen(self, state: State) -> JobView | None:
        row = self.table.chosen
        return None if row is None else state.jobs.get(_key_of(row))

    @on(RowList.Highlighted)
    def _highlighted(self) -> None:
        self._show_about(self.cockpit.state, self.cockpit.now())
        self._find_asked(self.cockpit.state)

    @on(RowList.Selected)
    def _open(self, event: RowList.Selected) -> None:
        event.stop()
        if (job := self._chosen(self.cockpit.state)) is not None:
            self.post_message(ShowJob(job.key))
            self.post_message(GoTo("train" if job.row.verb == "train" else "log"))

    def action_stop(self) -> None:
        """Stop the chosen job, which the app asks about first; say so when it has ended or there is none."""
        job = self._chosen(self.cockpit.state)
        if job is None:
            self._say_none("stop")
        elif job.row.has_ended:
            self.notify("it has ended: there is nothing to stop", timeout=3)
        else:
            self.post_message(StopWork(job.key))

    def action_show_log(self) -> None:
        """Show the chosen job's log on its own screen."""
        if (job := self._chosen(self.cockpit.state)) is not None:
            self.post_message(ShowJob(job.key))
            self.post_message(GoTo("log"))
        else:
            self._say_none("read the log of")

    def _say_none(self, what: str) -> None:
        self.post_message(Failed(f"there is no job to {what}", "t starts a training, 4 makes a video"))


def said_of(job: JobView, asked: str = "") -> dict[str, str]:
    """Return what a filter looks in, by the names that it may ask for."""
    row = job.row
    return {
        "state": row.word, "verb": row.verb, "host": job.key.host, "job": row.job, "why": job_in_words(row),
        "asked": asked,
    }  # fmt: skip


def _is_heard(key: JobKey, state: State) -> bool:
    host = state.hosts.get(key.host)
    return host is not None and host.kind is not HostKind.LOCAL and host.link.reach is Reach.UP


def _row_of(key: JobKey) -> str:
    return f"{key.host}\t{key.job}"


def _key_of(row: str) -> JobKey:
    host, _, job = row.partition("\t")
    return JobKey(host, job)


def _job_row(job: JobView, state: State, now_t: float, colour: str, asked: str) -> tuple[Text, ...]:
    row = job.row
    moment = row.ended_t or row.started_t or row.queued_t
    host = state.hosts.get(job.key.host)
    is_heard = host is None or host.kind is HostKind.LOCAL or host.link.reach is Reach.UP
    style = "dim" if not is_heard else ""
    where = job.key.host if host is None or is_heard else f"{job.key.host} {truth(host, now_t).glyph}"
    return (
        Text(f"{JOB_GLYPHS.get(row.word, ' ')} {row.word}", colour or style),
        Text(f"{ago(now_t - moment):>7}" if moment else "", style), Text(row.verb, style), Text(where, style),
        Text(" · ".join(filter(None, (job_in_words(row), asked))), style, no_wrap=True, overflow="ellipsis"),
    )  # fmt: skip


def about_job(job: JobView, state: State, now_t: float, cells: int, *, asked: str = "") -> Content:
    """Return what was asked for and how it stands, in a few lines; for one that has ended, why and what to do."""
    row = job.row
    lines: list[tuple[str, str]] = [(f"{asked}\n", "")] if asked else []
    times = []
    if row.queued_t:
        times.append(f"requested {ago(now_t - row.queued_t)} ago")
    if row.started_t:
        ran_s = (row.ended_t or now_t) - row.started_t
        times.append(f"{'ran' if row.has_ended else 'has run'} {duration(ran_s)}")
    if row.pid and not row.has_ended:
        times.append(f"process {row.pid} and all it started")
    lines.append((" · ".join(times) + "\n", "$text-muted"))
    if row.has_ended:
        how = f"exit code {row.code}" if row.code is not None else "how it ended was not recorded"
        signal = f", by {row.signal}" if row.signal else ""
        lines.append((f"{row.reason or how}{signal}\n", "$error" if row.state in ("failed", "lost") else ""))
        if row.hint:
            lines.append((f"→ {row.hint}\n", ""))
    elif words := job_in_words(row):
        lines.append((f"{words}\n", ""))
    if alarm := alarm_in_words(row, now_t):
        lines.append((f"{alarm}\n", "$text-warning"))
    host = state.hosts.get(job.key.host)
    if host is not None and host.kind is not HostKind.LOCAL and host.link.reach is not Reach.UP:
        is_so = truth(host, now_t)
        known = f"{is_so.glyph} {host.name} is {is_so.word.lower()}; this is as of {ago(now_t - job.seen_t)} ago"
        lines.append((f"{not_heard(host, now_t, cells) or known}\n", STYLES[is_so.tone]))
    return Content.assemble(*lines)
