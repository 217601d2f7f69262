"""Every key of the terminal UI, once: bindings, footer, help, palette and documents are made from this table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from textual.binding import Binding

EVERYWHERE = ""
LEAVE = "Leave"
# What the footer shows within its first 80 columns whatever else there is.
ALWAYS = ("help", "palette", "quit")

NAMES = {
    "question_mark": "?", "slash": "/", "space": "space", "escape": "esc", "enter": "enter", "ctrl+p": "^p",
    "ctrl+q": "^q", "ctrl+g": "^g", "ctrl+d": "^d", "ctrl+u": "^u", "upper_g": "G", "left_square_bracket": "[",
    "right_square_bracket": "]", "plus": "+", "minus": "-", "equals_sign": "=", "shift+right": "S-right",
    "shift+left": "S-left", "at": "@", "full_stop": ".", "comma": ",",
}  # fmt: skip


# What an entry does itself, beside taking letters for text.
OF_ENTRIES = frozenset(
    ("left", "right", "up", "down", "home", "end", "pageup", "pagedown", "enter", "tab", "ctrl+u", "ctrl+d",
     "shift+left", "shift+right")
)  # fmt: skip


@dataclass(frozen=True)
class Key:
    """One thing that a key does.

    id:     as in `[tui.keys]` of t2v.toml; it begins with the pane's name
    keys:   as Textual names them, several with commas
    label:  one word for the footer; none stands there when it is empty
    what:   a sentence for help and palette
    action: of the App when `where` is everywhere, else of the screen or pane of that name
    writes: starts, ends, changes or costs something; `--read-only` leaves it out
    """

    id: str
    keys: str
    label: str
    what: str
    action: str
    where: str = EVERYWHERE
    writes: bool = False

    @property
    def shown(self) -> str:
        """Return the first of its keys as people write it."""
        return key_name(self.keys.split(",")[0])

    @property
    def all_shown(self) -> list[str]:
        """Return all of its keys as people write them."""
        return [key_name(key) for key in self.keys.split(",")]


KEYS: tuple[Key, ...] = (
    Key("help", "question_mark,f1", "Help", "keys of the pane that has the focus", "help"),
    Key("palette", "ctrl+p", "Palette", "every action by name", "command_palette"),
    Key("quit", "q,ctrl+q", "Quit", "quit; jobs keep running", "quit"),
    Key("go.train", "1", "", "training: curve, GPU, last sample, log", "go('train')"),
    Key("go.checkpoints", "2", "", "checkpoints here and on the host", "go('checkpoints')"),
    Key("go.videos", "3", "", "videos, played here", "go('videos')"),
    Key("go.generate", "4", "", "make a video from a prompt", "go('generate')"),
    Key("go.vid2vid", "5", "", "refine a video towards a prompt", "go('vid2vid')"),
    Key("go.data", "6", "", "the data set", "go('data')"),
    Key("go.jobs", "7,J", "", "all jobs of every host", "go('jobs')"),
    Key("go.vm", "8,v", "", "the machine that does the work: start, stop, cost", "go('vm')"),
    Key("go.log", "9,l", "", "the log, whole screen", "go('log')"),
    Key("go.compare", "C", "", "all trainings side by side", "go('compare')"),
    Key("go.welcome", "0", "", "the first page", "go('welcome')"),
    Key("start", "t", "Train", "start training on the chosen host", "start_training", writes=True),
    Key("host", "h", "Host", "choose which host does the work", "choose_host"),
    Key("folder", "F", "", "the folder there: what each thing is, how large", "folder"),
    Key("commands", "at", "", "what keys did, as t2v lines to copy", "commands"),
    Key("reconnect", "R", "", "try to reach the host again now", "reconnect"),
    Key("theme", "T", "", "next theme", "next_theme"),
    Key("back", "escape", "", "up one level; never quits", "back"),
    Key("lists.filter", "slash", "Filter", "only rows that match: dog seed:7 -failed", "filter", "lists"),
    Key("lists.sort", "o", "Sort", "sort by the next column", "turn_sort", "lists"),
    Key("lists.reverse", "O", "", "reverse the order", "reverse", "lists"),
    Key("lists.leave", "escape", "", "leave filter, marks; then go up", "leave", "lists"),
    Key("marks.mark", "m", "Mark", "mark the row; pull and delete take all marked ones", "mark", "marks"),
    Key("marks.unmark", "M", "", "unmark all", "unmark", "marks"),
    Key("checkpoints.pull", "p", "Pull", "bring the chosen checkpoint here", "pull", "checkpoints", writes=True),
    Key("checkpoints.generate", "u", "Use", "generate with the chosen checkpoint", "generate", "checkpoints"),
    Key("checkpoints.play", "space", "Play", "play the video made from it", "play", "checkpoints"),
    Key("checkpoints.next", "right_square_bracket", "", "the next video made from it", "next_sample(1)", "checkpoints"),
    Key("checkpoints.previous", "left_square_bracket", "", "the one before", "next_sample(-1)", "checkpoints"),
    Key("checkpoints.delete", "D", "Delete", "delete it here, after asking", "delete_here", "checkpoints", writes=True),
    Key("checkpoints.delete_there", "X", "", "delete it on the host", "delete_there", "checkpoints", writes=True),
    Key("checkpoints.undo", "Z", "", "undo delete: bring back what was deleted here last", "undo", "checkpoints", True),
    Key("train.settings", "p", "Settings", "choose preset, epochs and the rest first", "settings", "train", True),
    Key("train.stop", "x", "Stop", "stop the run that is shown; asks first", "stop", "train", True),
    Key("train.zoom", "z", "Zoom", "the pane with the focus on the whole screen", "zoom_pane", "train"),
    Key("train.find", "slash", "", "find text in the log", "find", "train"),
    Key("train.save", "S", "", "write a checkpoint now", "save", "train", True),
    Key("train.pause", "P", "", "pause it, or resume", "pause", "train", True),
    Key("welcome.demo", "d", "Demo", "everything on a simulated VM, with the built-in world", "demo", "welcome"),
    Key("welcome.local", "l", "Local", "this machine does the work", "local", "welcome", True),
    Key("welcome.connect", "c", "Connect", "how to connect a VM", "connect", "welcome"),
    Key("jobs.stop", "x", "Stop", "stop it with all its processes; asks first", "stop", "jobs", True),
    Key("jobs.log", "L", "Log", "its log, whole screen; enter shows its curve", "show_log", "jobs"),
    Key("log.other", "E", "Events", "its events as lines, or what its engine wrote", "other", "log"),
    Key("vm.start", "u", "Start", "start the VM; asks first, since it costs", "start_vm", "vm", True),
    Key("vm.stop", "d", "Stop", "stop the VM; asks first", "stop_vm", "vm", True),
    Key("vm.keep", "K", "Keep", "keep it on for two hours even when idle, or undo that", "keep", "vm", True),
    Key("vm.doctor", "c", "Check", "check everything here, with the line that fixes it", "doctor", "vm"),
    Key("launch.yes", "y", "", "yes: start what costs", "agree", "launch", True),
    Key("launch.again", "r", "", "try again what failed", "again", "launch", True),
    Key("launch.resume", "u", "", "go on from the last checkpoint instead", "go_on", "launch", True),
    Key("launch.anew", "n", "", "start another run, in a folder of its own", "begin_anew", "launch", True),
    Key("runs.overlay", "space", "Overlay", "overlay its curve on the one that is shown", "overlay", "runs"),
    Key("compare.mark", "space", "Mark", "mark the run; up to 20 can be overlaid", "mark", "compare"),
    Key(
        "compare.filter",
        "slash",
        "Filter",
        "only runs that match: tiny data:msr -failed",
        "filter",
        "compare",
    ),
    Key(
        "compare.figure",
        "m",
        "Figure",
        "the next metric: held-out loss, …",
        "turn_figure(1)",
        "compare",
    ),
    Key("compare.axis", "x", "Axis", "over steps, epochs, hours or dollars", "turn_axis", "compare"),
    Key("compare.smooth", "e", "Smooth", "average over more points, or show each", "turn_smoothing", "compare"),
    Key("compare.sort", "o", "Sort", "sort by the next column", "turn_sort", "compare"),
    Key("compare.view", "b", "Both", "chart, comparison, or both", "turn_view", "compare"),
    Key("compare.name", "n", "Name", "give the run a name", "name", "compare", True),
    Key("compare.note", "N", "", "add a note to the run", "note", "compare", True),
    Key("compare.write", "w", "Write", "write the chart as SVG, PNG or CSV", "write", "compare", True),
    Key("compare.figure_back", "M", "", "the previous metric", "turn_figure(-1)", "compare"),
    Key("compare.reverse", "O", "", "reverse the order", "reverse", "compare"),
    Key("compare.group", "d", "", "runs of one data set together, or not", "group", "compare"),
    Key("compare.unmark", "u", "", "unmark all", "unmark", "compare"),
    Key("compare.charts", "c", "", "one chart, two or four at once", "turn_charts", "compare"),
    Key("compare.in", "plus,equals_sign", "", "zoom in around the cursor", "zoom(0.5)", "compare"),
    Key("compare.out", "minus", "", "zoom out", "zoom(2.0)", "compare"),
    Key("compare.scale", "s", "", "logarithmic or linear", "change_scale", "compare"),
    Key("compare.cursor", "full_stop", "", "read values further right, as → in a chart", "cursor(1)", "compare"),
    Key("compare.cursor_back", "comma", "", "read values further left, as ← in a chart", "cursor(-1)", "compare"),
    Key("compare.columns", "right_square_bracket", "", "more runs of the comparison", "shift(1)", "compare"),
    Key("compare.columns_back", "left_square_bracket", "", "those before", "shift(-1)", "compare"),
    Key("compare.maximize", "z", "", "the current pane on the whole screen", "zoom_pane", "compare"),
    Key("compare.leave", "escape", "", "leave field, cursor, filter; then go up", "leave", "compare"),
    Key("chart.right", "right", "", "read values further right", "screen.cursor(1)", "chart-pane"),
    Key("chart.left", "left", "", "read values further left", "screen.cursor(-1)", "chart-pane"),
    Key("chart.far_right", "shift+right", "", "a tenth of the chart further right", "screen.cursor(10)", "chart-pane"),
    Key("chart.far_left", "shift+left", "", "a tenth of the chart further left", "screen.cursor(-10)", "chart-pane"),
    Key("chart.whole", "0,home", "", "show every run from start to end", "screen.whole", "chart-pane"),
    Key("videos.play", "space", "Play", "play the chosen video, or pause", "play", "videos"),
    Key("videos.refine", "r", "Refine", "refine this video towards a prompt", "refine", "videos"),
    Key("videos.again", "a", "Again", "the same again, with another seed", "again", "videos", writes=True),
    Key("videos.edit", "e", "Edit", "generate with its prompt and settings", "edit", "videos"),
    Key("videos.sheet", "c", "Sheet", "all of them as pictures, or as a list", "sheet", "videos"),
    Key("videos.open", "w", "Watch", "open it in the system's player", "open", "videos"),
    Key("videos.pull", "p", "Pull", "bring it here from the host", "pull", "videos", writes=True),
    Key("videos.delete", "D", "", "delete it, after asking", "delete", "videos", writes=True),
    Key("videos.undo", "Z", "", "undo delete: bring back what was deleted here last", "undo", "videos", writes=True),
    Key("videos.favourite", "f", "Favourite", "make it a favourite, or no longer", "favourite", "videos", True),
    Key("videos.blind", "b", "Blind", "which is better? asks without telling which is which", "blind", "videos", True),
    Key("videos.step", "full_stop", "", "one frame on", "step(1)", "videos"),
    Key("videos.step_back", "comma", "", "one frame back", "step(-1)", "videos"),
    Key("drawing.beside", "b", "", "run what waits beside the training, if memory allows", "beside", "drawing", True),
    Key("drawing.here", "H", "", "run what waits on this machine instead", "here", "drawing", True),
    Key("drawing.filter", "slash", "", "only jobs of the queue that match: dog -failed", "filter", "drawing"),
    Key("generate.start", "ctrl+g", "Generate", "make the video, as enter does", "start", "generate", writes=True),
    Key("generate.stop", "x", "Stop", "stop the job that is watched", "stop", "generate", writes=True),
    Key("generate.play", "space", "Play", "play the result", "play", "generate"),
    Key("generate.write", "i", "Prompt", "to the prompt", "write", "generate"),
    Key("generate.leave", "escape", "", "leave the field, then go up a level", "leave", "generate"),
    Key("vid2vid.start", "ctrl+g", "Refine", "refine the video, as enter does", "start", "vid2vid", writes=True),
    Key("vid2vid.stop", "x", "Stop", "stop the job that is watched", "stop", "vid2vid", writes=True),
    Key("vid2vid.play", "space", "Play", "play both, before and after", "play", "vid2vid"),
    Key("vid2vid.write", "i", "Prompt", "to the prompt", "write", "vid2vid"),
    Key("vid2vid.leave", "escape", "", "leave the field, then go up a level", "leave", "vid2vid"),
    Key("data.prepare", "p", "Prepare", "turn the chosen set into what training reads", "prepare", "data", writes=True),
    Key("data.check", "c", "Check", "decode every clip once and set bad ones aside", "check", "data", writes=True),
    Key("data.build", "b", "Build", "build the built-in world of moving shapes", "build", "data", writes=True),
    Key("data.stop", "x", "Stop", "stop the work that runs", "stop", "data", writes=True),
    Key("log.find", "slash", "Find", "find text in the log; N continues upwards, n downwards", "open_find", "log-pane"),
    Key("log.filter", "f", "Filter", "only lines that contain a text, new ones included", "open_filter", "log-pane"),
    Key("log.next", "n", "", "next line that contains it", "find_next", "log-pane"),
    Key("log.previous", "N", "", "the one before", "find_previous", "log-pane"),
    Key("log.follow", "G,end", "Follow", "to the end, and stay there", "follow", "log-pane"),
    Key("log.top", "g,home", "", "to the first line", "go_top", "log-pane"),
    Key("log.down", "j,down", "", "a line down", "move(1)", "log-pane"),
    Key("log.up", "k,up", "", "a line up; following stops", "move(-1)", "log-pane"),
    Key("log.page_down", "pagedown", "", "a page down", "page(1.0)", "log-pane"),
    Key("log.page_up", "pageup", "", "a page up", "page(-1.0)", "log-pane"),
    Key("log.half_down", "ctrl+d", "", "half a page down", "page(0.5)", "log-pane"),
    Key("log.half_up", "ctrl+u", "", "half a page up", "page(-0.5)", "log-pane"),
    Key("log.wrap", "w", "Wrap", "wrap long lines, or leave them whole", "wrap", "log-pane"),
    Key("log.right", "right", "", "a quarter of the width to the right, in long lines", "sideways(1)", "log-pane"),
    Key("log.left", "left", "", "the same to the left", "sideways(-1)", "log-pane"),
    Key("log.mark", "V", "Mark", "mark lines: j and k move the end, Y copies", "mark", "log-pane"),
    Key("log.copy", "Y", "Copy", "copy the marked lines, or those in sight", "copy", "log-pane"),
    Key("log.leave", "escape", "", "leave find, marks, filter", "leave", "log-pane"),
    Key("curve.in", "plus,equals_sign", "Zoom", "look closer", "zoom(0.5)", "curve-pane"),
    Key("curve.out", "minus", "", "zoom out", "zoom(2.0)", "curve-pane"),
    Key("curve.left", "left", "", "earlier steps", "pan(-0.25)", "curve-pane"),
    Key("curve.right", "right", "", "later steps", "pan(0.25)", "curve-pane"),
    Key("curve.whole", "0,home", "Whole", "the whole run", "whole", "curve-pane"),
    Key("curve.scale", "s", "Scale", "logarithmic or linear", "change_scale", "curve-pane"),
    Key("curve.raw", "e", "", "each step's own loss, or only the average", "toggle_raw", "curve-pane"),
    Key("player.play", "space", "Play", "play, or pause", "play", "player-pane"),
    Key("player.step", "full_stop", "", "one frame on", "step(1)", "player-pane"),
    Key("player.step_back", "comma", "", "one frame back", "step(-1)", "player-pane"),
)


def key_name(key: str) -> str:
    """Return a key as people write it: `question_mark` as `?`."""
    return NAMES.get(key) or (f"^{key[5:]}" if key.startswith("ctrl+") else key)


def is_typed(key: str) -> bool:
    """Tell whether an entry takes this key for text."""
    return key == "space" or len(NAMES.get(key, key)) == 1


def while_typing(keys: Iterable[Key]) -> list[Key]:
    """Return the keys that work in an entry, which takes letters for text; `esc` of a screen or pane leaves it."""
    found = []
    for key in keys:
        names = [name for name in key.keys.split(",") if not is_typed(name) and name not in OF_ENTRIES]
        if names:
            is_way_out = names == ["escape"] and key.where != EVERYWHERE
            found.append(replace(key, keys=",".join(names), label=LEAVE if is_way_out else key.label))
    ways_out = [key for key in found if key.label == LEAVE][:1]
    return ways_out + [key for key in found if key.label != LEAVE]


def keys_for(where: str, *, is_read_only: bool = False) -> list[Key]:
    """Return the keys of one pane or screen, or those that hold everywhere."""
    return [key for key in KEYS if key.where == where and not (is_read_only and key.writes)]


def is_writing(action: str, where: str) -> bool:
    """Tell whether an action of a screen, or of a pane on it, is one that `--read-only` leaves out."""
    return any(key.writes and key.action == action and key.where in (where, "launch") for key in KEYS)


def bindings_for(*where: str) -> list[Binding]:
    """Return what stands in the BINDINGS of an app, a screen or a widget."""
    return [
        Binding(key.keys, key.action, key.label or key.what, id=key.id, show=False)
        for key in KEYS
        if key.where in where
    ]  # fmt: skip


def with_keymap(keys: Iterable[Key], keymap: Mapping[str, str]) -> list[Key]:
    """Return the keys as the user has set them."""
    return [Key(**{**key.__dict__, "keys": keymap.get(key.id, key.keys)}) for key in keys]


def key_of(id_: str) -> Key:
    """Return the key with that id. Raises StopIteration when there is none."""
    return next(key for key in KEYS if key.id == id_)
