"""All jobs of every host: how each stands, and what can be done with it."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import DataTable

from t2v_tui.keys import bindings_for
from t2v_tui.messages import GoTo, ShowJob
from t2v_tui.screens.base import Cockpit
from t2v_tui.state import JobKey, JobView, State
from t2v_tui.widgets.lists import ListTable
from t2v_tui.words import JOB_GLYPHS, ago, job_in_words

COLUMNS = (("job", 33), ("state", 12), ("since", 7), ("host", 14), ("", None))


class JobsScreen(Cockpit):
    NAME = "jobs"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("jobs")]

    def body(self) -> ComposeResult:
        yield ListTable(COLUMNS, id="jobs")

    def show(self, state: State, now_t: float) -> None:
        ordered = sorted(state.jobs.values(), key=lambda job: job.row.began_t, reverse=True)
        self.query_one(ListTable).show_rows([(f"{job.key.host}\t{job.key.job}", _cells(job, now_t)) for job in ordered])

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        if (chosen := self.query_one(ListTable).chosen) is not None:
            host, _, job = chosen.partition("\t")
            self.post_message(ShowJob(JobKey(host, job)))
            self.post_message(GoTo("train"))


def _cells(job: JobView, now_t: float) -> tuple[Text, ...]:
    row = job.row
    moment = row.ended_t or row.started_t or row.queued_t
    return (
        Text(row.job), Text(f"{JOB_GLYPHS.get(row.state, ' ')} {row.state}"),
        Text(f"{ago(now_t - moment):>7}" if moment else ""), Text(job.key.host), Text(job_in_words(row)),
    )  # fmt: skip
