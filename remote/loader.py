"""How the agent gets onto a host: a constant command that runs the cached file, or asks for it first.

The command line never holds anything that somebody typed. The file lies under its own hash, so a new version of t2v
brings its own agent and leaves the running ones alone.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from remote.agent.bundle import bundle
from remote.agent.detached import RUN

AGENT = Path(__file__).with_name("agent")
NEED = b"need\n"

# Runs on the host under whatever Python 3.9 or newer it has. Read-ahead of stdin is harmless: this side sends nothing
# else before the agent has said its first line. What lies there is looked at each time: a file may have been damaged.
_LOADER = """
import glob, hashlib, json, os, shutil, sys
sha, run = sys.argv[1:3]
home = os.path.expanduser("~/.cache/t2v")
folder = os.path.join(home, "agent-" + sha)
def is_whole():
    modules = {}
    try:
        for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*.py"))):
            with open(path, encoding="utf-8", errors="replace") as file:
                modules[os.path.basename(path)] = file.read()
    except OSError:
        return False
    return hashlib.sha256(json.dumps(modules, sort_keys=True).encode()).hexdigest() == sha
def place(partial):
    try:
        os.rename(partial, folder)
        return
    except OSError:
        if is_whole():  # somebody else was quicker, and may be importing from it just now
            shutil.rmtree(partial)
            return
    damaged = partial + ".damaged"
    try:
        os.rename(folder, damaged)
    except OSError:
        pass
    try:
        os.rename(partial, folder)
    except OSError:
        shutil.rmtree(partial)
    shutil.rmtree(damaged, ignore_errors=True)
if not is_whole():
    sys.stdout.write("need\\n")
    sys.stdout.flush()
    data = sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))
    if hashlib.sha256(data).hexdigest() != sha:
        sys.exit("the agent arrived damaged")
    partial = "%s.%d" % (folder, os.getpid())
    os.makedirs(partial, exist_ok=True)
    for name, text in json.loads(data).items():
        with open(os.path.join(partial, name), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    place(partial)
sys.argv = [run, folder] + sys.argv[3:]
exec(run)
"""


@cache
def agent_source() -> bytes:
    return bundle(AGENT)


def agent_sha256() -> str:
    return hashlib.sha256(agent_source()).hexdigest()


def command(arguments: Sequence[str]) -> str:
    """The command line for a host's shell; `arguments` are the agent's own constant words."""
    return shlex.join(["env", "PYTHONUTF8=1", "python3", "-c", _LOADER, agent_sha256(), RUN, *arguments])


def upload() -> bytes:
    """What to send after `need`."""
    source = agent_source()
    return b"%d\n" % len(source) + source
