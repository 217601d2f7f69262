"""Programs that jobs run: strays that hide, engines that say what they are told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from support.hosts.agent_here import Here, agent

# Three ways to get lost: a child that forks twice and calls setsid, the same without a trace in its environment, and
# one that stays; all of them, and their parent, deaf to SIGINT and SIGTERM.
DEAF = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def note(name):
    with open(name + ".partial", "w") as file:
        file.write(str(os.getpid()))
    os.rename(name + ".partial", name)
SLEEP = "import time\\nwhile True: time.sleep(600)"
def stray(name, environment):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note(name)
            os.execve(sys.executable, [sys.executable, "-c", SLEEP], environment)
        os._exit(0)
    os.wait()
stray("daemon", dict(os.environ))
stray("nameless", {})
if os.fork() == 0:
    note("child")
    time.sleep(600)
note("main")
print("at work", flush=True)
time.sleep(600)
"""


# Notes when it has the GPU, as a line that begins and a line that ends.
ON_GPU = """
import sys, time
def note(word):
    with open("gpu", "a") as file:
        file.write(word + " " + sys.argv[1] + "\\n")
note("begin")
time.sleep(0.2)
note("end")
"""


# Engines: they report what they are told to, and end with a code.
SAYS = """
import json, pathlib, sys, time
directory = pathlib.Path(sys.argv[-1])
def say(**event):
    with open(directory / "events.jsonl", "a") as file:
        file.write(json.dumps({{"t": time.time(), **event}}) + "\\n")
say(kind="stage", name="work")
print("at work", flush=True)
while not pathlib.Path("go").exists() and not (directory / "stop").exists():
    time.sleep(0.01)
say({event})
sys.exit({code})
"""


DONE = SAYS.format(event="kind='done', seconds=1", code=0)
ERROR = SAYS.format(event="kind='error', message='no clips', hint='make some', exit_code=2", code=2)
STOPPED = SAYS.format(event="kind='error', message='stopped after step 3', hint='go on', exit_code=4", code=4)
SILENT = SAYS.format(event="kind='step', step=1", code=0)
# One that a signal reaches behind its last word, while its interpreter ends.
KILLED_LATE = SAYS.partition("say({event})")[0] + "{words}\nimport os\nos.kill(os.getpid(), {number})\n"


Another = Callable[..., Here]


@pytest.fixture
def another_agent(here: Here) -> Iterator[Callable[..., Here]]:
    """Makes further agents on the same workspace."""
    with ExitStack() as stack:
        yield lambda **environment: Here(here.workspace, stack.enter_context(agent(**environment)))


def go(here: Here) -> None:
    (here.workspace / "go").touch()
