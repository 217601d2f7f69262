"""How the agent gets onto a host: one line for its login shell that runs the cached files, or asks for them first.

The line never holds anything that somebody typed but the path of a Python, byte by byte. The files lie under their own
hash, so a new version of t2v brings its own agent and leaves the running ones alone.
"""

from __future__ import annotations

import base64
import hashlib
import string
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from remote.agent.base.bundle import bundle
from remote.agent.base.units import RUN
from remote.agent.guard.signs import AGENT_MARK

# How the line begins that a login shell gets, which some servers echo where they refuse it.
SHELL = "exec sh -c"
AGENT = Path(__file__).parents[1] / "agent"
# Found anywhere in what comes: a login shell may have printed something before it, also without an end of line.
NEED = b"t2v needs its agent\n"
NO_PYTHON = "t2v finds no Python 3.9 or newer"
BASES = ("/var/tmp", "/tmp", "/dev/shm")  # noqa: S108 - in a folder of this user's own below one of them, or not at all
NO_ROOM = "t2v finds no folder of your own that takes its agent"

# Runs on the host under whatever Python it has. Read-ahead of stdin is harmless: this side sends nothing else before
# the agent has said its first line. What lies there is looked at each time: a file may have been damaged. A home folder
# that is full, read-only or open to others must not keep anybody from looking at jobs elsewhere: a folder that only
# this user may write does as well.
_LOADER = """
import sys
if sys.version_info < (3, 9):
    sys.exit("%s: %s is %s" % (NO_PYTHON, sys.executable, sys.version.split()[0]))
import glob, grp, hashlib, json, os, pwd, shutil, stat
open_ones = []
name = "agent-" + SHA
def is_whole(folder):
    modules = {}
    try:
        for path in glob.glob(os.path.join(glob.escape(folder), "**", "*.py"), recursive=True):
            with open(path, encoding="utf-8", errors="replace") as file:
                modules[os.path.relpath(path, folder)] = file.read()
    except OSError:
        return False
    return hashlib.sha256(json.dumps(modules, sort_keys=True).encode()).hexdigest() == SHA
def is_own(home, makes):
    try:
        if makes:
            os.mkdir(home, 0o700)
    except OSError:
        pass
    try:
        seen = os.lstat(home)
    except OSError:
        return False
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid() and not seen.st_mode & 0o077
def is_shut(folder, top):
    seen = os.stat(folder)
    mode = seen.st_mode
    if seen.st_uid not in (0, os.getuid(), 65534):
        return False
    if mode & 0o022 and not mode & stat.S_ISVTX:
        me, group = pwd.getpwuid(os.getuid()), grp.getgrgid(seen.st_gid)
        if mode & 2 or group.gr_gid != me.pw_gid or group.gr_name != me.pw_name or set(group.gr_mem) - {me.pw_name}:
            return False
    return folder in (top, "/") or is_shut(os.path.dirname(folder), top)
def is_ours_alone(home):
    there = os.path.realpath(home)
    while not os.path.exists(there):
        there = os.path.dirname(there)
    try:
        return is_shut(there, os.path.realpath(os.path.expanduser("~")))
    except (OSError, KeyError):
        return False
def homes(makes=False):
    home = os.path.expanduser("~/.cache/t2v")
    if is_ours_alone(home):
        yield home
    else:
        open_ones.append(home)
    for base in BASES:
        home = os.path.join(base, "t2v-%d" % os.getuid())
        if is_own(home, makes):
            yield home
def place(partial, folder):
    try:
        os.rename(partial, folder)
        return
    except OSError:
        if is_whole(folder):  # somebody else was quicker, and may be importing from it just now
            return
    damaged = partial + ".damaged"
    try:
        os.rename(folder, damaged)
    except OSError:
        pass
    try:
        os.rename(partial, folder)
    finally:
        shutil.rmtree(damaged, ignore_errors=True)
def bring(data, folder):
    partial = "%s.%d" % (folder, os.getpid())
    mask = os.umask(0o077)
    try:
        os.makedirs(partial, exist_ok=True)
        os.chmod(os.path.dirname(folder), 0o700)
        for one, text in json.loads(data).items():
            path = os.path.join(partial, one)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        place(partial, folder)
    finally:
        os.umask(mask)
        shutil.rmtree(partial, ignore_errors=True)
def brought():
    sys.stdout.write(NEED)
    sys.stdout.flush()
    data = sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))
    if hashlib.sha256(data).hexdigest() != SHA:
        sys.exit("the agent arrived damaged")
    why = ""
    for home in homes(True):
        folder = os.path.join(home, name)
        try:
            bring(data, folder)
        except OSError as error:
            why = why or "%s: %s" % (home, error.strerror)
        if is_whole(folder):
            return folder
    if open_ones:
        why = "%s can be written to by others: chmod go-w it, and the folders above it" % open_ones[0]
    sys.exit("%s: %s" % (NO_ROOM, why))
there = (os.path.join(home, name) for home in homes())
sys.argv = [RUN, next(filter(is_whole, there), None) or brought()] + WORDS
exec(RUN)
"""

# Where people have Pythons that no login shell without a terminal has on its PATH.
_NAMES = " ".join(f"python3.{minor}" for minor in (13, 12, 11, 10, 14, 9))
_PLACES = " ".join(
    [
        *(f"/usr/local/bin/{name} /usr/bin/{name}" for name in ("python3", *_NAMES.split())),
        *(f'"$HOME"/{name}/bin/python3 /opt/{name}/bin/python3' for name in ("miniconda3", "anaconda3", "miniforge3")),
        '/opt/conda/bin/python3 "$HOME"/mambaforge/bin/python3 "$HOME"/.local/bin/python3',
        '"$HOME"/.pyenv/versions/3.*/bin/python3 "$HOME"/.local/share/uv/python/*/bin/python3',
    ]
)
_IS_GOOD = "import sys;sys.exit(sys.version_info<(3,9))"
_PLAIN = frozenset(string.ascii_letters + string.digits + "/._-")


@cache
def agent_source() -> bytes:
    """Return the agent's modules as one bundle, which is what a host is sent."""
    return bundle(AGENT)


def agent_sha256() -> str:
    """Return the hash of the agent's bundle, in hex, by which a host knows whether it has it."""
    return hashlib.sha256(agent_source()).hexdigest()


def command(arguments: Sequence[str], pythons: Sequence[str] = (), *, is_careful: bool = False) -> str:
    """Return the line for a host's login shell: sh, bash, zsh, fish and tcsh take it for the same words.

    arguments:  the agent's own constant words
    pythons:    to be tried before python3; `~` is the home folder there
    is_careful: try each Python before it is taken, and look where people have theirs: it takes some tenths of a second
    """
    names = {"SHA": agent_sha256(), "RUN": RUN, "WORDS": list(arguments), "NEED": NEED.decode()}
    names |= {"NO_PYTHON": NO_PYTHON, "NO_ROOM": NO_ROOM, "BASES": BASES}
    text = "".join(f"{name} = {value!r}\n" for name, value in names.items()) + _LOADER
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    tried = " ".join([*map(_word, pythons), "python3", *([_NAMES, _PLACES] if is_careful else [])])
    is_good = f'"$p" -c "{_IS_GOOD}" </dev/null >/dev/null 2>&1' if is_careful else 'command -v "$p" >/dev/null 2>&1'
    # By the mark at its end a guard knows its process: a connection that only talks to the agent keeps no machine on.
    # PYTHONHOME belongs to another Python than the one that is found here, or than the job's.
    script = (
        f"unset PYTHONHOME; PYTHONUTF8=1; export PYTHONUTF8; for p in {tried}; do if {is_good}; then "
        'exec "$p" -I -S -X utf8 -c "import base64,sys,zlib;exec(zlib.decompress(base64.b64decode(sys.argv[1])))" '
        f'{packed} {AGENT_MARK.decode()}; fi; done; echo "{NO_PYTHON}" >&2; exit 127'
    )
    return f"{SHELL} '{script}'"


def _word(path: str) -> str:
    """A path as a word of sh within single quotes of any shell: what is not plain goes as printf's octal numbers."""
    home, rest = ('"$HOME"', path[1:]) if path == "~" or path.startswith("~/") else ("", path)
    if all(letter in _PLAIN for letter in rest):
        return home + rest
    return f'{home}"$(printf "{"".join(f"{chr(92)}{byte:03o}" for byte in rest.encode())}")"'


def upload() -> bytes:
    """Return what to send after `need`: the length on a line, then the source."""
    source = agent_source()
    return b"%d\n" % len(source) + source
