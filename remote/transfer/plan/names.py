"""Names from the other side are hostile until they were looked at: what may become a path here, and how to show one."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath

from remote.agent.transfer.parts import JOURNAL, PART
from remote.errors import UnsafeName
from remote.text import shown

STAGED = (PART, JOURNAL)
NAME_BYTES, PATH_BYTES = 255 - len(JOURNAL), 3000
UNSHOWN = ("Cc", "Cf", "Zl", "Zp")
# A file there may run as a program here at the next git or t2v command.
KEPT = (".git", ".t2v", "t2v.toml")


def relative_path(name: str, below: str) -> PurePosixPath:
    """Return `name` as a path of the workspace. below: what was asked for, which it has to be or to lie in.

    Raises UnsafeName, with a sentence, for every name that would land elsewhere, or cannot be one.
    """
    if why := _wrong_with(name):
        raise UnsafeName(f"{shown(name)[:200]} is refused: {why}", "rename it there if you want it")
    path = PurePosixPath(name)
    if below not in (".", "") and PurePosixPath(below) not in (path, *path.parents):
        raise UnsafeName(f"{shown(name)} is refused: it does not lie in {shown(below)}, which was asked for")
    return path


def _wrong_with(name: str) -> str:
    parts = name.split("/")
    rules = (
        (name.startswith("/") or any(part in ("", ".", "..") for part in parts), "it leads out of the workspace"),
        (any(unicodedata.category(letter) in UNSHOWN for letter in name), "it has control characters"),
        (any(unicodedata.category(letter) == "Cs" for letter in name), "it is not UTF-8"),
        (_bytes(name) > PATH_BYTES or any(_bytes(part) > NAME_BYTES for part in parts), "it is too long"),
        ("\\" in name, "it has a backslash"),
        (any(part.casefold() in KEPT for part in parts), f"nothing from a host is written to {' or '.join(KEPT)}"),
        (
            any(part.startswith(".partial-") or part.endswith(STAGED) for part in parts),
            "its name marks it as unfinished",
        ),
    )
    return next((why for is_so, why in rules if is_so), "")


def _bytes(name: str) -> int:
    return len(name.encode(errors="surrogatepass"))


def same_place(path: PurePosixPath) -> str:
    """Return a text that is equal for names that are one file where case and accents' form do not count.

    A Mac has such disks.
    """
    return unicodedata.normalize("NFC", str(path)).casefold()


def folds_case(folder: Path) -> bool:
    """Tell whether names that differ in case only are one file here."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    twin = existing.with_name(existing.name.swapcase())
    return twin.name != existing.name and twin.exists() and twin.samefile(existing)
