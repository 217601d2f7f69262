"""What licence a model has, as its own card says it, and whether it is an open one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from t2v_core.disk.opening import open_file

OPEN = ("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "isc", "unlicense")
CARD = "README.md"
MOST_OF_A_CARD = 65536


@dataclass(frozen=True)
class Licence:
    """name: `apache-2.0`, or what the makers call their own; link: where it is written, if the card says it"""

    name: str
    link: str = ""

    @property
    def is_open(self) -> bool:
        """Tell whether anybody may use the model for anything."""
        return self.name.lower() in OPEN


def licence_of(folder: Path, otherwise: str) -> Licence:
    """Return the licence that the card of a model's folder names; `otherwise` is its family's, where there is none."""
    said = _front_matter(folder / CARD)
    name = said.get("license", "")
    if name in ("", "other", "unknown"):
        name = said.get("license_name", "") or otherwise
    return Licence(name, said.get("license_link", ""))


def _front_matter(card: Path) -> dict[str, str]:
    """The plain `key: value` lines between the first two `---` of a card: all that is needed of its YAML."""
    if not card.is_file():
        return {}
    with open_file(card) as file:
        text = file.read(MOST_OF_A_CARD).decode("utf-8", "replace")
    found = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    lines = re.findall(r"^(\w+):[ \t]*(\S.*?)[ \t]*$", found[1], re.MULTILINE) if found else []
    return {key: value.strip("'\"") for key, value in lines}
