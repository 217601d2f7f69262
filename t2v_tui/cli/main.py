"""`t2v`: the command line. stdout carries data, stderr narration; exit codes 0, 1, 2, 3, 4 and 130 as in `--help`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, cast

import typer

from t2v_core import __version__
from t2v_tui.cli.lazy import WIDTH, Entry, LazyGroup, function_of

ABOUT = """Train, run and look after your own text-to-video model.

\b
New here?             t2v demo
With your own clips:  t2v init, t2v preprocess, t2v train, t2v generate "a dog running"
About one command:    t2v COMMAND --help

Settings come from flags, then T2V_* variables (T2V_DEVICE, T2V_TRAIN_EPOCHS), then t2v.toml in the workspace.
Results go to stdout, one path per line; everything else to stderr.

\b
Exit codes: 0 done, 1 the work failed, 2 invalid request, 3 host unreachable, 4 stopped, 130 interrupted (Ctrl-C).
"""


class _Commands(LazyGroup):
    entries: ClassVar[dict[str, Entry]] = {
        "init": Entry("init:init", "Make a workspace: folders and a commented t2v.toml."),
        "demo": Entry("engine.demo:demo", "The whole workflow on the built-in world, in a few minutes."),
        "preprocess": Entry("engine.verbs:preprocess", "Turn clips and captions into what training reads."),
        "doctor": Entry("doctor:doctor", "Check everything, and say how to fix what is wrong."),
        "estimate": Entry("engine.verbs:estimate", "Will it fit, how long will it take? Ask before training."),
        "import-checkpoint": Entry(
            "engine.verbs:import_checkpoint",
            "Turn the previous system's .pt checkpoints into t2v's.",
        ),
        "train": Entry("engine.verbs:train", "Train a model, or continue training it."),
        "verify-resume": Entry("engine.verbs:verify_resume", "Prove that a killed training run resumes exactly."),
        "generate": Entry("engine.verbs:generate", "Make a video from a prompt."),
        "sheet": Entry("engine.verbs:sheet", "Make a grid of videos: prompts, seeds, guidance scales."),
        "add-noise": Entry("engine.verbs:add_noise", "Mix noise into a video."),
        "refine": Entry("engine.verbs:refine", "Clean up or change a video, towards a prompt."),
        "evaluate": Entry("engine.verbs:evaluate", "Score a model on test captions."),
        "report": Entry("report:report", "One HTML file about a training, or several side by side."),
        "export": Entry("engine.sharing:export", "Write a trained model as a folder that others can use."),
        "publish": Entry("engine.sharing:publish", "Put an exported model on the hub, private at first."),
        "web": Entry("web.web:web", "Open a page for a browser: generate, refine and look at videos."),
        "status": Entry("jobs.status:status", "What is running, what it costs, when it stops."),
        "jobs": Entry("jobs.commands:jobs", "What is running and what ran, here and on other machines."),
        "watch": Entry("jobs.watch:watch", "A job's events as they come, one per line, for scripts and agents."),
        "attach": Entry("jobs.commands:attach", "Watch a job to its end."),
        "logs": Entry("jobs.commands:logs", "Show a job's log."),
        "ask": Entry("jobs.commands:ask", "Ask a running job to save, pause, resume or begin at once."),
        "stop": Entry("jobs.commands:stop", "Stop a job."),
        "pull": Entry("transfer:pull", "Fetch files from another machine, verified."),
        "push": Entry("transfer:push", "Send code, data or videos to another machine."),
        "trash": Entry("trash:trash", "List what was deleted in the terminal UI, and bring it back."),
        "ls": Entry("ls:ls", "List what is in a folder, here or on another machine."),
        "bootstrap": Entry("bootstrap:bootstrap", "Make another machine ready for the engine."),
    }


class _DataCommands(LazyGroup):
    entries: ClassVar[dict[str, Entry]] = {
        "shapes": Entry("engine.verbs:shapes", "Make the built-in world: captioned clips of moving shapes."),
        "check": Entry("engine.verbs:check", "Decode every clip once and report what is there and what is wrong."),
        "manifest": Entry("engine.verbs:manifest", "Write annotations of any form as JSON lines."),
        "import-latents": Entry(
            "engine.verbs:import_latents",
            "Turn the previous system's .pt folders into what training reads.",
        ),
    }


class _HostCommands(LazyGroup):
    entries: ClassVar[dict[str, Entry]] = {
        "list": Entry("hosts:list_hosts", "The hosts of t2v.toml and the keys pinned for them."),
        "trust": Entry("hosts:trust", "Compare a host's key and pin it."),
    }


class _VmCommands(LazyGroup):
    entries: ClassVar[dict[str, Entry]] = {
        "status": Entry("vm.commands:status", "Show a VM's state, and whether its SSH server answers."),
        "start": Entry("vm.commands:start", "Start a VM, and wait until it lets you in."),
        "stop": Entry("vm.commands:stop", "Stop a VM, and wait until the cloud confirms it."),
        "keep": Entry("vm.cost:keep", "Keep a VM from stopping itself for a while."),
        "cost": Entry("vm.cost:cost", "What a VM costs: now, today, and while it is stopped."),
        "list": Entry("vm.commands:list_", "Every VM of the project."),
    }


class _SlurmCommands(LazyGroup):
    entries: ClassVar[dict[str, Entry]] = {
        "script": Entry("cluster.slurm:script", "Write a script for sbatch: a job on nodes of a cluster.", True),
    }


class _SkyCommands(LazyGroup):
    entries: ClassVar[dict[str, Entry]] = {
        "task": Entry("cluster.sky:task", "Write a SkyPilot task: a job on machines of any cloud.", True),
        "launch": Entry("cluster.sky:launch", "Give SkyPilot a job, which it starts and starts again.", True),
        "status": Entry("cluster.sky:status", "What SkyPilot says of its jobs."),
        "logs": Entry("cluster.sky:logs", "The log of a job that SkyPilot runs."),
        "cancel": Entry("cluster.sky:cancel", "Have SkyPilot end a job and its machines."),
    }


class _RunsCommands(LazyGroup):
    entries: ClassVar[dict[str, Entry]] = {
        "diff": Entry("runs:diff", "What differs between trainings: settings, and how they ended."),
        "chart": Entry("runs:chart", "Plot one metric of trainings as an SVG, PNG or CSV file."),
        "name": Entry("runs:name", "Give a training a name."),
        "note": Entry("runs:note", "Add a note to a training."),
    }


class _ModelsCommands(LazyGroup):
    entries: ClassVar[dict[str, Entry]] = {
        "fetch": Entry("engine.sharing:fetch", "Bring one from the hub, here or to another machine."),
    }


@dataclass(frozen=True)
class Common:
    """What was said before the command's name."""

    workspace: Path | None
    as_json: bool


app = typer.Typer(cls=_Commands, help=ABOUT, add_completion=False, rich_markup_mode=None, context_settings=WIDTH)
data = typer.Typer(cls=_DataCommands, add_completion=False, rich_markup_mode=None)
app.add_typer(data, name="data", help="Make and examine data sets.")
host = typer.Typer(cls=_HostCommands, add_completion=False, rich_markup_mode=None)
app.add_typer(host, name="host", help="The machines that work can be sent to.")
vm = typer.Typer(cls=_VmCommands, add_completion=False, rich_markup_mode=None)
app.add_typer(vm, name="vm", help="Virtual machines, and others that t2v starts and stops.")
slurm = typer.Typer(cls=_SlurmCommands, add_completion=False, rich_markup_mode=None)
app.add_typer(slurm, name="slurm", help="Jobs for a cluster that Slurm runs.")
sky = typer.Typer(cls=_SkyCommands, add_completion=False, rich_markup_mode=None)
app.add_typer(sky, name="sky", help="Jobs on machines of any cloud, through SkyPilot.")

runs = typer.Typer(cls=_RunsCommands, add_completion=False, rich_markup_mode=None, context_settings=WIDTH)
app.add_typer(runs, name="runs", help="Every training with its results and cost; compare, chart and name them.")

models = typer.Typer(cls=_ModelsCommands, add_completion=False, rich_markup_mode=None, context_settings=WIDTH)
app.add_typer(models, name="models", help="Open models that lie here or on another machine; bring more.")


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(f"t2v {__version__}")
        raise typer.Exit


@app.callback()
def common(
    ctx: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            metavar="DIR",
            help="Where data, checkpoints and outputs lie. [default: T2V_WORKSPACE, or the nearest folder at or above "
            "this one with a t2v.toml, or this one]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result to stdout as JSON.")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit."),
    ] = False,
) -> None:
    """Keep what is common to all commands."""
    ctx.obj = Common(workspace, as_json)


@data.callback()
def _data() -> None:
    """A group needs one."""


@host.callback()
def _host() -> None:
    """A group needs one."""


@vm.callback()
def _vm() -> None:
    """A group needs one."""


@slurm.callback()
def _slurm() -> None:
    """A group needs one."""


@sky.callback()
def _sky() -> None:
    """A group needs one."""


@runs.callback(invoke_without_command=True)
def _runs(
    ctx: typer.Context,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="COLUMN",
            help="newest, state, name, preset, data, held-out, loss, score, cost or duration.",
        ),
    ] = "newest",
    is_reversed: Annotated[bool, typer.Option("--reverse", help="Reverse the order.")] = False,
    wanted: Annotated[
        str, typer.Option("--filter", metavar="WORDS", help="Only runs that match every word: 'data:shapes -failed'.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write it to stdout as JSON.")] = False,
) -> int:
    """List every training with what it reached, what it cost and how long it took; compare, chart and name them.

    Those of hosts are listed as they were last known; `t2v jobs --all` asks them anew.

    \b
    Examples:
      t2v runs
      t2v runs --sort held-out --filter "tiny -failed"
      t2v runs diff 3f2a 9c01
    """  # fmt: skip
    if ctx.invoked_subcommand is not None:
        return 0
    common: Common = ctx.obj
    list_runs = cast(Callable[..., int], function_of(Entry("runs:list_runs", "")))  # its module imports this one
    return list_runs(common, sort=sort, is_reversed=is_reversed, wanted=wanted, as_json=as_json or common.as_json)


@models.callback(invoke_without_command=True)
def _models(
    ctx: typer.Context,
    folder: Annotated[
        str | None,
        typer.Option(
            "--folder",
            metavar="PATH",
            help="Folder of models, listed beside the hub's cache. [default: models]",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="NAME", help="List those of that host.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write it to stdout as JSON.")] = False,
) -> int:
    """List the open models that lie here or on another machine: family, size, licence, and whether they are whole.

    They are those of Hugging Face's cache and the folders in models/ of the workspace, of the families that t2v knows.

    \b
    Examples:
      t2v models
      t2v models --host a100-golden --json
      t2v models fetch Wan-AI/Wan2.1-T2V-1.3B-Diffusers --host a100-golden
    """  # fmt: skip
    if ctx.invoked_subcommand is not None:
        return 0
    common: Common = ctx.obj
    list_models = cast(Callable[..., int], function_of(Entry("engine.models:list_models", "")))
    return list_models(common, folder=folder, host=host, as_json=as_json or common.as_json)


# Typer keeps the base of its usage errors in a private module that has moved between releases; its child is public.
_UsageError = cast(type[typer.BadParameter], typer.BadParameter.__bases__[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every failure is a sentence, never a traceback."""
    code = _answered(arguments)
    trouble = _trouble_of_stdout()
    return code if trouble is None else _of_stdout(trouble, code)


def _trouble_of_stdout() -> OSError | None:
    """Why what was said on stdout did not get there; from then on it goes nowhere."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def _of_stdout(trouble: OSError, code: int) -> int:
    """Whoever closed a pipe has read enough; a disk that is full lost what was said."""
    if isinstance(trouble, BrokenPipeError):
        return 0
    return _fail(
        f"stdout cannot be written to: {trouble.strerror}",
        "the work itself is done; send its output elsewhere",
        code or 1,
    )


def _answered(arguments: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments in ([], ["data"], ["host"], ["vm"], ["slurm"], ["sky"]):
        arguments = [*arguments, "--help"]
    try:
        return int(app(args=arguments, prog_name="t2v", standalone_mode=False) or 0)
    except _UsageError as error:
        path = error.ctx.command_path if error.ctx else "t2v"
        return _fail(parser_sentence(error.format_message()), f"see {path} --help", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", "", 130)
    except Exception as error:  # noqa: BLE001  a person at a terminal cannot use a traceback
        return _unexpected(error)


def parser_sentence(message: str) -> str:
    """Return the parser's English as one sentence of ours."""
    message = re.sub(r"^No such option: (\S+?)\.?(?=\s|$)", r"there is no option \1", message)
    message = re.sub(r"^Missing (?:argument|option|parameter) '?([^'.]+)'?\.?", r"\1 is missing", message.strip())
    message = re.sub(r"\(Possible options: ([^)]+)\)", r"(there is: \1)", message)
    return (message if message[:2].isupper() else message[:1].lower() + message[1:]).rstrip(".")


def _unexpected(error: Exception) -> int:
    """An error of ours carries its sentence, hint and code; of any other, say what and where."""
    message = getattr(error, "message", None)
    if isinstance(message, str):
        return _fail(message, str(getattr(error, "hint", "")), int(getattr(error, "exit_code", 1)))
    if isinstance(error, OSError):
        from t2v_core.disk.files import wrong_place  # only an error needs it

        if trouble := _trouble_of_stdout():
            return _of_stdout(trouble, 1)
        if wrong := wrong_place(error):
            return _fail(wrong.message, wrong.hint, wrong.exit_code)
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
    return _fail(f"t2v itself failed: {type(error).__name__}: {error}", f"a bug, at {place}; please report it", 1)


def _fail(message: str, hint: str, code: int) -> int:
    from t2v_core.disk.plain_text import for_terminal, in_short  # only an error needs it

    print(in_short(for_terminal(f"error: {message}" + (f"\nhint:  {hint}" if hint else ""))), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
