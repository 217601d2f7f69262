"""The page: sections of HTML under one style. Whatever comes from people, files or hosts is escaped here.

There is no script in it, and its policy forbids to load anything: what a name or a prompt says can do nothing, and the
file opens as well on a machine without a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from t2v_core.format import counted, date_time, duration, size, usd
from t2v_core.version import __version__
from t2v_tui.library.runs.settings import differing
from t2v_tui.library.runs.traces import Axis, trace_of, xs_of
from t2v_tui.library.views import checkpoint_asked
from t2v_tui.report.contents import RunReport
from t2v_tui.report.samples import Samples
from t2v_tui.report.scores import ScoreRow, score_rows
from t2v_tui.report.style import STYLE
from t2v_tui.store.state import LOCAL
from t2v_tui.text.runs.run_comparison import comparison
from t2v_tui.text.runs.run_table import setting
from t2v_tui.widgets.curve.chart_file import Curve, as_svg, drawing

MARK = "<!-- made by t2v report -->"
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
# What every training has comes first; of the rest as many as are looked at.
FIRST = ("loss", "held_out_loss", "score", "learning_rate", "grad_norm", "samples_per_s")
MOST_CHARTS, DOTS, SMOOTHING = 12, 600, 0.98
SMOOTHED = ("loss", "grad_norm")


def page_of(runs: Sequence[RunReport], now_t: float) -> str:
    """Return the whole file."""
    title = " and ".join(run.row.title for run in runs)
    sections = [
        _section("In short", _summary(runs)),
        _section("Curves", _curves(runs)),
        _section("Samples through training", _beside(runs, _samples)),
        _section("Scores", _beside(runs, _scores)),
        _section("Settings", _settings(runs)),
        _section("Data", _beside(runs, _data_in_html)),
        _section("Cost", _beside(runs, _cost)),
        _section("Machine", _beside(runs, _machine)),
        _section("What happened", _beside(runs, _happened)),
    ]
    return "\n".join([
        "<!DOCTYPE html>", MARK, '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>",
        f"<header><h1>{_text(title)}</h1><p>t2v {__version__}, {date_time(now_t)}</p></header><main>",
        *sections, "</main></body></html>", "",
    ])  # fmt: skip


def _text(value: object) -> str:
    return escape(str(value))


def _section(title: str, inside: str) -> str:
    name = title.lower().replace(" ", "-")
    return f'<section id="{name}"><h2>{title}</h2>{inside}</section>'


def _beside(runs: Sequence[RunReport], part: Callable[[RunReport], str]) -> str:
    """One column a run, under its name where there are several."""
    columns = [f"<div>{f'<h3>{_text(run.row.title)}</h3>' if len(runs) > 1 else ''}{part(run)}</div>" for run in runs]
    return f'<div class="beside">{"".join(columns)}</div>'


def _html_table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Cells that are HTML already; the first of each row names it."""
    top = f"<tr>{''.join(f'<th>{one}</th>' for one in head)}</tr>" if head else ""
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{one}</td>" for one in rest)}</tr>' for first, *rest in rows
    )
    return f'<div class="wide"><table>{top}{lines}</table></div>' if lines else ""


def _nothing(words: str) -> str:
    return f'<p class="nothing">{_text(words)}</p>'


def _summary(runs: Sequence[RunReport]) -> str:
    rows = [row for row in comparison([run.row for run in runs], []) if not row.is_head]
    told = [(_text(row.name), *map(_text, row.cells)) for row in rows]
    return _html_table([*told, ("job", *(_text(run.row.key.job) for run in runs))])


def _curves(runs: Sequence[RunReport]) -> str:
    held = {name for run in runs for name, line in run.measured.lines.items() if len(line)}
    names = [name for name in FIRST if name in held] + sorted(held - set(FIRST))
    charts = [chart for name in names[:MOST_CHARTS] if (chart := _chart(runs, name))]
    left = len(names) - len(names[:MOST_CHARTS])
    more = f"<p>{counted(left, 'more figure')}: t2v runs chart draws them</p>" if left else ""
    return f'<div class="charts">{"".join(charts)}</div>{more}' if charts else _nothing("no step was taken yet")


def _chart(runs: Sequence[RunReport], name: str) -> str:
    curves = []
    for run in runs:
        line = run.measured.lines.get(name)
        xs = None if line is None else xs_of(line, run.measured, Axis.STEP)
        if line is not None and xs is not None:
            trace = trace_of(line, xs, None, DOTS, SMOOTHING if name in SMOOTHED else 0.0)
            if len(trace.xs):
                curves.append(Curve(run.row.title, trace))
    return f"<figure>{as_svg(*drawing(name, Axis.STEP, curves, is_log=False))}</figure>" if curves else ""


def _samples(run: RunReport) -> str:
    found = run.samples
    if not found.shown:
        return _nothing(_why_no_samples(run))
    rows = []
    for prompt in found.prompts:
        figures = "".join(_player(found, prompt, step) for step in found.steps)
        rows.append(f'<p class="prompt">{_text(prompt) or "without a prompt"}</p><div class="strip">{figures}</div>')
    told = f"{found.shown} of {counted(found.told, 'sample')}" if found.shown < found.told else ""
    missing = f"; {found.missing:,} not here, or written over by another run" if found.missing else ""
    note = f"<p>{_text(told + missing)}</p>" if told else ""
    return "".join(rows) + note


def _player(found: Samples, prompt: str, step: int) -> str:
    video = (found.videos or {}).get((prompt, step))
    if video is None:
        return ""
    label = escape(f"step {step}: {prompt}")
    return (
        f'<figure><video autoplay loop muted playsinline controls aria-label="{label}" '
        f'src="data:video/mp4;base64,{video.data}"></video><figcaption>step {step:,}</figcaption></figure>'
    )


def _why_no_samples(run: RunReport) -> str:
    told = run.samples.told
    if not told:
        return "it made none: train --samples N makes some at each checkpoint"
    if run.samples.missing < told:
        return f"of its {told:,} samples the smallest set is larger than this report may be: --video-mb allows more"
    where = "" if run.row.key.host == LOCAL else f": t2v pull videos --host {run.row.key.host} brings them"
    return f"its {counted(told, 'sample')} {'is' if told == 1 else 'are'} not here{where}"


def _scores(run: RunReport) -> str:
    if not run.scored:
        return _nothing("no evaluation of its checkpoints is here: t2v evaluate makes one")
    parts = []
    for one in reversed(run.scored):
        rows = score_rows(one.all_scores)
        head = f"<p>{_text(checkpoint_asked(one.checkpoint))}, {date_time(one.t)}</p>"
        parts.append(head + _html_table(map(_score_cells, rows), ("", "value", "floor", "ceiling", "", "95 %", "how")))
    return "".join(parts)


def _score_cells(row: ScoreRow) -> Sequence[str]:
    gauge = "" if row.at is None else f'<meter min="0" max="1" value="{row.at:.3f}"></meter>'
    how = _text(row.stamp)
    if row.unseen:
        kind = "blind" if row.unseen.startswith(("blind", "does")) else "seen"
        how += f' <b class="{kind}">{_text(row.unseen)}</b>'
    return (
        *map(_text, (row.name, row.value, row.floor, row.ceiling)), gauge, _text(row.interval),
        f'<span class="stamp">{how}</span>',
    )  # fmt: skip


def _settings(runs: Sequence[RunReport]) -> str:
    known = [run.settings for run in runs]
    if not all(known):
        lacking = next(run for run in runs if not run.settings)
        return _nothing(
            f"the settings of {lacking.row.key.job} are not here: the terminal UI asks {lacking.row.key.host} for them"
        )
    head = ("", *(_text(run.row.title) for run in runs))
    parts = []
    if len(runs) > 1:
        rows = differing(known)
        title = "settings that differ" if rows else "no setting differs"
        parts.append(f'<h3>{title}</h3><div id="differences">')
        parts.append(
            _html_table(((_text(name), *(_text(setting(one)) for one in values)) for name, values in rows), head)
        )
        parts.append("</div>")
    names = list(dict.fromkeys(name for one in known for name in one))
    every = _html_table(((_text(name), *(_value(run, name) for run in runs)) for name in names), head)
    return f"{''.join(parts)}<details{'' if parts else ' open'}><summary>every setting</summary>{every}</details>"


def _value(run: RunReport, name: str) -> str:
    """What somebody set stands out from what is so by itself."""
    value = _text(setting(run.settings.get(name)))
    return f"<b>{value}</b>" if name in run.asked else value


def _data_in_html(run: RunReport) -> str:
    rows = [(_text(name), _text(value)) for name, value in run.data.rows]
    rows += [(_text(name), _text(value)) for name, value in _made_of(run)]
    table = _html_table([("data set", _text(run.settings.get("data", "–"))), *rows])
    text = f"<pre>{_text(run.data.text)}</pre>" if run.data.text else ""
    sheet = f'<img alt="clips of the data set" src="data:image/jpeg;base64,{run.data.sheet}">' if run.data.sheet else ""
    hint = "" if text else _nothing("nobody examined it: t2v data check does, and its report comes here")
    return table + text + sheet + hint


def _made_of(run: RunReport) -> list[tuple[str, str]]:
    """What its checkpoint says of the latents and the text."""
    rows = []
    for part in ("latents", "text"):
        said = run.trainer.get(part)
        for name, value in said.items() if isinstance(said, dict) else ():
            inner = value.items() if isinstance(value, dict) else [("", value)]
            rows += [
                (f"{part}: {name} {key}".replace("_", " ").rstrip(), setting(one))
                for key, one in inner
                if isinstance(one, str | int | float)
            ]
    return rows


def _cost(run: RunReport) -> str:
    if run.row.key.host == LOCAL:
        return _nothing("it ran on a machine of your own, which nobody bills")
    rows = [
        (
            _text(date_time(one.started_t)),
            _text(one.machine_type + (", spot" if one.is_spot else "")),
            "price not known" if one.usd_per_hour is None else f"{usd(one.usd_per_hour)} an hour",
        )
        for one in run.sessions
    ]
    total = "not known" if run.row.usd is None else usd(run.row.usd)
    lasted = "" if run.row.seconds is None else f" for {duration(run.row.seconds)}"
    return f"<p><b>{total}</b>{lasted}, while the training ran</p>" + _html_table(rows, ("started", "machine", "price"))


def _machine(run: RunReport) -> str:
    rows = [("host", "this machine" if run.row.key.host == LOCAL else run.row.key.host)]
    for name, value in run.story.machine.items():
        shown = size(value) if name.endswith("_bytes") and isinstance(value, int) else value
        rows.append((name.removesuffix("_bytes").replace("_", " "), str(shown)))
    for name in ("gpu_memory_gb", "gpu_use_percent", "gpu_temperature_c", "gpu_power_w"):
        line = run.measured.lines.get(name)
        if line is not None and (count := math.fsum(line.counts)):
            mean, high = math.fsum(line.sums) / count, max(line.highs)
            rows.append((name.replace("_", " "), f"{mean:.4g} on average, {high:.4g} at most"))
    versions = run.trainer.get("versions")
    rows += [(str(name), str(value)) for name, value in (versions if isinstance(versions, dict) else {}).items()]
    return _html_table((_text(name), _text(value)) for name, value in dict(rows).items())


def _happened(run: RunReport) -> str:
    items = [
        f"<li>{date_time(one.t)} {_text(one.message)}{f' ({_text(one.hint)})' if one.hint else ''}</li>"
        for one in run.story.complaints
    ]
    error = getattr(run.story.end, "message", "")
    if error:
        items.append(f"<li><b>{_text(error)}</b></li>")
    return f"<ul>{''.join(items)}</ul>" if items else _nothing("no warning and no alarm")
