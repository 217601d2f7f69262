"""Data: what sets there are, what training can read of them, and the work that makes it so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from t2v_core.errors import EngineError
from t2v_core.format import counted, duration, grouped, size
from t2v_tui.keys import bindings_for
from t2v_tui.library.data_sets import DataSetView, Prepared, data_sets_here, data_sets_there
from t2v_tui.library.folders import TRUSTED_S
from t2v_tui.messages import Failed, FollowJob, StartWork, StopWork
from t2v_tui.screens.bases.listing_screen import ListingScreen
from t2v_tui.store.order import Order
from t2v_tui.store.state import LOCAL, HostKind, JobKey, JobView, Reach, RunView, State
from t2v_tui.text.headline import is_off
from t2v_tui.text.job_words import JOB_GLYPHS, job_in_words
from t2v_tui.text.unreachable import asked, not_heard
from t2v_tui.widgets.chrome import Block
from t2v_tui.widgets.entry_line import EntryLine
from t2v_tui.widgets.lists import ListTable, MadeOf
from t2v_tui.widgets.pane import Pane, Words
from t2v_tui.widgets.rows import RowList

if TYPE_CHECKING:
    from t2v_tui.workers.services import Services

READ_EVERY_S, THERE_EVERY_S = 5.0, 20.0
SETS = (("data set", 14), ("  clips", 7), ("prepared", 18), ("set aside", 9), ("", None))
SET_ASIDE = (("clip", 12), ("why", 16), ("", None))
VERBS = ("preprocess", "shapes", "check", "manifest", "import-latents")
# The built-in world is made for the models that are shipped.
WORLD_SETTINGS = {"vae": "embedded", "text_encoder": "embedded", "frames": 8, "size": 64}
BAR_CELLS = 24
NOTHING = """No data set yet.

b   builds the built-in world: 2,376 clips of moving
    shapes with captions, in about a minute
or  put clips into data/msr-vtt/videos/ and captions
    into data/msr-vtt/annotations/, and press p"""
NONE_SET_ASIDE = "No clip was set aside. c decodes every clip once and checks it."


ORDERS: Mapping[str, Order[DataSetView]] = {
    "name": Order(lambda one: one.path),
    "clips": Order(lambda one: one.clips, largest_first=True),
    "set aside": Order(lambda one: len(one.set_aside), largest_first=True),
    "state": Order(lambda one: (one.is_prepared, one.is_whole)),
}


class DataScreen(ListingScreen):
    NAME = "data"
    ITEMS = "data sets"
    ORDERS = ORDERS
    CSS_PATH = "data.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("data")]

    class HereRead(Message):
        def __init__(self, sets: tuple[DataSetView, ...]) -> None:
            super().__init__()
            self.sets = sets

    class ThereRead(Message):
        def __init__(self, host: str, sets: tuple[str, ...] = (), why: str = "") -> None:
            """why: it could not say"""
            super().__init__()
            self.host, self.sets, self.why = host, sets, why

    def __init__(self) -> None:
        super().__init__()
        self.sets: tuple[DataSetView, ...] | None = None
        self.rows: list[DataSetView] = []
        self.there: tuple[str, tuple[str, ...], str] = ("", (), "")
        self._followed: set[JobKey] = set()
        self._made_of, self._aside_of = MadeOf(), MadeOf()

    def body(self) -> ComposeResult:
        """Lay out the data sets over the clips set aside and the work on them."""
        with Pane(id="sets-box"):
            yield ListTable(SETS, id="sets")
            yield Block(id="nothing", classes="empty")
            yield EntryLine(id="entry-line")
            yield Words(id="facts")
        with Horizontal(id="below"):
            with Pane(id="aside-box"):
                yield ListTable(SET_ASIDE, id="aside")
                yield Static(NONE_SET_ASIDE, id="none-aside", classes="empty", markup=False)
            with Pane(id="work-box"):
                yield Words(id="work")

    def on_mount(self) -> None:
        """Read the data sets now and every few seconds."""
        self.set_interval(READ_EVERY_S, self._read_again)
        self.set_interval(THERE_EVERY_S, self._read_there_again)
        self._read_here(None, 0.0)

    def on_screen_resume(self) -> None:
        """Read the data sets again, here and on the host."""
        self._read_here(self.sets, 0.0)
        self._read_there_again()

    def _read_again(self) -> None:
        if self.is_current:
            self._read_here(self.sets, TRUSTED_S)

    def _read_there_again(self) -> None:
        state, services = self.cockpit.state, self.cockpit.services
        if (
            self.is_current
            and services is not None
            and state.host != LOCAL
            and state.chosen.link.reach is not Reach.LOST
        ):
            self._read_there(services, state.host)

    @work(thread=True, exclusive=True, group="data-here", exit_on_error=False)
    def _read_here(self, known: tuple[DataSetView, ...] | None, trusted_s: float) -> None:
        sets = data_sets_here(self.cockpit.workspace, trusted_s=trusted_s)
        if sets != known:
            self.post_message(self.HereRead(sets))

    @work(thread=True, exclusive=True, group="data-there", exit_on_error=False)
    def _read_there(self, services: Services, host: str) -> None:
        try:
            self.post_message(self.ThereRead(host, data_sets_there(services.jobs(host))))
        except EngineError as error:
            self.post_message(
                self.ThereRead(host, why=f"{error.message} → {error.hint}" if error.hint else error.message)
            )

    def on_data_screen_here_read(self, message: HereRead) -> None:
        """Take the data sets that lie here, and draw them."""
        self.sets = message.sets
        self.show(self.cockpit.state, self.cockpit.now())

    def on_data_screen_there_read(self, message: ThereRead) -> None:
        """Take what a host said of its data sets, and draw it."""
        self.there = (message.host, message.sets, message.why)
        self.show(self.cockpit.state, self.cockpit.now())

    @property
    def table(self) -> ListTable:
        """Return the list of data sets."""
        return self.query_one("#sets", ListTable)

    @property
    def chosen(self) -> DataSetView | None:
        """Return the data set with the cursor; None while there is none or nothing was read yet."""
        return next((one for one in self.sets or () if one.path == self.table.chosen), None)

    # Drawing

    def show(self, state: State, now_t: float) -> None:
        """Draw the data sets, the facts of the chosen one, and the work on data."""
        sets = self.sets or ()
        if self._made_of.is_new(sets, self.listing_changes):
            self.rows = self.listed(sets, said_of)
            self.table.show_items({one.path: one for one in self.rows}, _data_set_row)
        is_empty = not self.rows
        self.query_one("#nothing").display = is_empty
        reading = f"◌ reading {self.cockpit.workspace.root / 'data'}"
        none_fits = self.none_fits(len(sets)) if sets else ""
        self.query_one("#nothing", Block).show(Content(reading if self.sets is None else none_fits or NOTHING))
        self.table.stand_back(is_hidden=is_empty)
        self.query_one("#facts").display = not is_empty
        pane, title = self.query_one("#sets-box", Pane), "data sets here"
        if self.is_rearranged:
            title = self.in_words(title, len(self.rows), len(sets))
        pane.entitle(
            title if self.sets is not None else "data sets · reading",
            self._about_there(state, now_t, pane.size.width - 2) or None,
        )
        self._show_chosen()
        self._show_work(state, now_t)

    def _about_there(self, state: State, now_t: float, cells: int) -> str:
        """What the chosen host has, that it is asked for it, or not heard; nothing of one that is off."""
        host, (name, sets, why) = state.chosen, self.there
        if host.kind is HostKind.LOCAL or is_off(host):
            return ""
        if lost := not_heard(host, now_t, cells):
            return lost
        if name != host.name:
            return asked(host, now_t, "its data sets")
        return f"✗ {name}: {why}" if why else f"on {name}: {', '.join(sets) or 'no data set'}"

    def _show_chosen(self) -> None:
        one = self.chosen
        self.query_one("#facts", Words).say(facts_of(one) if one is not None else "")
        aside = one.set_aside if one is not None else ()
        table = self.query_one("#aside", ListTable)
        if self._aside_of.is_new(aside):
            table.show_rows([(row.clip, (Text(row.clip), Text(row.reason), Text(row.detail))) for row in aside])
        table.display = bool(aside)
        self.query_one("#none-aside").display = not aside
        self.query_one("#aside-box", Pane).entitle(f"set aside · {len(aside)}" if aside else "set aside")

    @on(RowList.Highlighted, "#sets")
    def _other_row(self) -> None:
        self._show_chosen()

    def _jobs(self, state: State) -> list[JobView]:
        jobs = [job for job in state.jobs.values() if job.row.verb in VERBS]
        return sorted(jobs, key=lambda job: (job.row.has_ended, -job.row.began_t))

    def _show_work(self, state: State, now_t: float) -> None:
        jobs = self._jobs(state)
        for job in jobs[:3]:
            if job.key not in self._followed and not job.row.has_ended:
                self._followed.add(job.key)
                self.post_message(FollowJob(job.key))
        box, words = self.query_one("#work-box", Pane), self.query_one("#work", Words)
        if not jobs:
            box.entitle("work")
            words.say(Content.styled("Nothing was started yet.\np prepares, c checks, b builds.", "$text-muted"))
            return
        host = jobs[0].key.host
        box.entitle(f"{jobs[0].row.verb} {'here' if host == LOCAL else f'on {host}'}")
        words.say(work_in_words(jobs[0], state.runs.get(jobs[0].key), now_t, letters=self.cockpit.settings.ascii))

    # Keys

    def action_prepare(self) -> None:
        """Start preparing the chosen set on the chosen host; say so when clips or the like are missing."""
        one = self.chosen
        if one is None:
            self.post_message(Failed("there is no data set to prepare", "b builds the built-in world"))
        elif one.needs.startswith("no "):
            self.post_message(Failed(f"{one.path}: {one.needs}", "t2v init says where clips and captions belong"))
        else:
            self._start("preprocess", {"data": one.path, **(WORLD_SETTINGS if one.is_world else {})})

    def action_check(self) -> None:
        """Start decoding every clip of the chosen set once, on the chosen host."""
        if (one := self.chosen) is not None:
            self._start("check", {"data": one.path})
        else:
            self.post_message(Failed("there is no data set to check", "b builds the built-in world"))

    def action_build(self) -> None:
        """Start building the built-in world on the chosen host, unless one is here already."""
        if any(one.is_world for one in self.sets or ()):
            self.post_message(Failed("the built-in world is here already", "p prepares it, t trains on it"))
        else:
            self._start("shapes", {})

    def _start(self, verb: str, values: dict[str, Any]) -> None:
        self.post_message(StartWork(verb, values, self.cockpit.state.host))

    def action_stop(self) -> None:
        """Stop the work on data that began last; say so when none runs."""
        alive = [job for job in self._jobs(self.cockpit.state) if not job.row.has_ended]
        if alive:
            self.post_message(StopWork(alive[0].key))
        else:
            self.notify("no data job is running", timeout=3)


def facts_of(one: DataSetView) -> Content:
    """Return two lines: what lies there, and what is missing."""
    captions = ", ".join(one.captions[:3]) + (f" and {len(one.captions) - 3} more" if one.captions[3:] else "")
    total = sum(part.size_bytes for part in (*one.latents, *one.text))
    first = " · ".join(
        filter(
            None,
            (
                f"captions: {captions}" if captions else "no captions",
                f"{size(total)} prepared" if total else "",
                _in_buckets(one.latents),
            ),
        )
    )
    needs = (f"● {one.needs}", "$text-warning") if one.needs else ("✓ training can read it", "$text-success")
    return Content.assemble((f"{first}\n", "$text-muted"), needs)


def _in_buckets(parts: tuple[Prepared, ...]) -> str:
    """`in buckets: 832×480×81 12, 480×832×81 3`, of the training clips; empty for a set of one size and length."""
    shares = next((part.buckets for part in parts if part.split == "train"), ())
    told = ", ".join(f"{name.replace('x', '×')} {grouped(count)}" for name, count in shares if count)
    return f"in buckets: {told}" if told else ""


def work_in_words(job: JobView, run: RunView | None, now_t: float, *, letters: bool = False) -> Content:
    """Return state, stage, a bar, and what it warned of."""
    glyph = JOB_GLYPHS.get(job.row.state, " ")
    began = job.row.started_t
    took = f"  {duration((job.row.ended_t or now_t) - began)}" if began else ""
    pieces = [(f"{glyph} {job.row.state}{took}\n", "$foreground")]
    if job.row.has_ended:
        why = "" if job.row.state == "succeeded" else f"{job_in_words(job.row)}\n"
        pieces.append((why, "$text-muted"))
        pieces.append((f"{job.row.hint}\n" if job.row.hint else "", "$text-muted"))
    elif run is not None:
        pieces.append((f"{run.stage}  {run.detail}\n", "$text-muted"))
        pieces.append((_bar(run, letters=letters), "$accent"))
    if run is not None:
        pieces += [(f"▲ {warning}\n", "$text-warning") for warning in run.warnings[-3:]]
    return Content.assemble(*pieces)


def _bar(run: RunView, *, letters: bool) -> str:
    if not run.total:
        return ""
    filled = round(BAR_CELLS * min(1.0, run.done / run.total))
    full, empty = ("#", ".") if letters else ("█", "░")
    left = f"  {duration(run.time_left_s)} left" if run.time_left_s is not None else ""
    how_far = f"{grouped(run.done)} of {grouped(run.total)} {run.unit}"
    return f"{full * filled}{empty * (BAR_CELLS - filled)}\n{how_far}{left}\n"


def said_of(one: DataSetView) -> dict[str, str]:
    """Return what a filter looks in, by the names that it may ask for."""
    splits = " ".join(part.split for part in one.latents)
    return {"name": one.path, "state": f"{_standing(one).plain} {one.needs}", "prepared": splits}


def _data_set_row(one: DataSetView) -> tuple[Text, ...]:
    return (
        Text(one.name), Text(f"{grouped(one.clips):>7}"), Text(_prepared(one.latents)),
        Text(f"{grouped(len(one.set_aside)) if one.set_aside else '–':>9}"),
        _standing(one),
    )  # fmt: skip


def _standing(one: DataSetView) -> Text:
    if one.is_prepared:
        return Text("✓ ready", style="green")
    return Text("● to prepare" if one.is_whole else "✗ to fill", style="yellow")


def _prepared(parts: tuple[Prepared, ...]) -> str:
    """`9 000 train 1 000 test`, or shards where clips would take long to count."""
    if not parts:
        return "–"
    return " · ".join(
        f"{grouped(part.clips)} {part.split}"
        if part.clips is not None
        else f"{counted(part.shards, 'shard')} {part.split}"
        for part in parts
    )
