"""The site: the pages of docs/, those of the root, and the reference, put together and built into site/.

python docs/make_site.py            `make docs`; fails on a link that leads nowhere
python docs/make_site.py FOLDER     builds into FOLDER instead

What mkdocs is given is plain Markdown in one folder (.site/), so that another generator can take its place.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from make_reference import pages as reference_pages

ROOT = Path(__file__).parents[1]
PAGES = ROOT / ".site"
# Pages of the root, and what they are called on the site.
ROOT_PAGES = {"README.md": "index.md", "TERMINAL_COMMANDS.md": "commands.md", "CHANGELOG.md": "changes.md"}
BESIDES = {".png", ".svg", ".gif", ".css", ".ipynb"}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
# An error's sentence is looked for where it is explained, and last among the changes.
SEARCHED = {"troubleshooting.md": 4, "changes.md": 0.2}
# `<!-- section: FILE.md#Title -->` stands where the site shows a section of another page.
SECTION = re.compile(r"^<!-- section: (\S+\.md)#(.+?) -->$", re.MULTILINE)


def assemble(folder: Path) -> None:
    """Write every page of the site, with pictures and style, into `folder`, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    for source, place in sources().items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            boost = f"---\nsearch: {{boost: {SEARCHED[place]}}}\n---\n" if place in SEARCHED else ""
            target.write_text(boost + page(source), encoding="utf-8")
        else:
            shutil.copyfile(source, target)
    (folder / "reference").mkdir()
    for name, text in reference_pages().items():
        (folder / "reference" / name).write_text(text, encoding="utf-8")


def sources() -> dict[Path, str]:
    """File of the repository → its place on the site."""
    docs = ROOT / "docs"
    found = {ROOT / name: place for name, place in ROOT_PAGES.items()}
    found |= {file: str(file.relative_to(docs)) for file in sorted(docs.rglob("*.md"))}
    return found | {file: file.name for file in sorted(docs.iterdir()) if file.suffix in BESIDES}


def page(source: Path) -> str:
    """A page as the site has it: sections of others put in, links leading to where their targets lie there."""
    text = SECTION.sub(lambda found: _section(ROOT / found[1], found[2]), source.read_text(encoding="utf-8"))
    blocks = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(block if block.startswith("```") else LINK.sub(_moved_from(source), block) for block in blocks)


def _section(file: Path, title: str) -> str:
    """What stands below a heading, up to the next one of its level. Raises ValueError when there is none."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", file.read_text(encoding="utf-8"), re.M | re.S)
    if found is None:
        raise ValueError(f"{file.name} has no section '{title}'")
    return found[1].strip()


def _moved_from(source: Path) -> Callable[[re.Match[str]], str]:
    """A link of `source`, as it is written on the site. One to a file that is no page stays as its words."""
    places = {file.resolve(): place for file, place in sources().items()}
    here = PurePosixPath(places[source.resolve()]).parent

    def moved(link: re.Match[str]) -> str:
        target, _, anchor = link[3].partition("#")
        if re.match(r"\w+:", target) or not target:
            return link[0]
        # A section that was put in from another page has links that are meant from there.
        file = next(
            (base / target for base in (source.parent, ROOT) if (base / target).exists()), source.parent / target
        )
        if file.exists() and file.resolve() not in places:
            return link[2]
        place = places.get(file.resolve(), target)
        path = os.path.relpath(place, here) if file.resolve() in places else target
        return f"{link[1]}[{link[2]}]({path}{'#' + anchor if anchor else ''})"

    return moved


def main() -> int:
    """Assemble and build; returns what mkdocs ends with."""
    assemble(PAGES)
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=False).returncode
    if ended == 0:
        print(folder / "index.html")
        shown = os.path.relpath(folder)
        print(
            f"to search in it as well: {Path(sys.executable).name} -m http.server --bind 127.0.0.1 --directory {shown}"
        )
    return ended


if __name__ == "__main__":
    sys.exit(main())
