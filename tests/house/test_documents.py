"""The documents say what is: errors by their own sentences, a whole reference, a bill that adds up."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from remote.hosts.settings import HostSettings
from t2v_core.specs import SPECS
from t2v_tui.cli.main import app
from t2v_tui.keys import KEYS
from t2v_tui.settings import ABOUT as TUI_SETTINGS

ROOT = Path(__file__).parents[2]
TROUBLES = ROOT / "docs/troubleshooting.md"
sys.path.insert(0, str(ROOT / "docs"))
make_reference = importlib.import_module("make_reference")
make_site = importlib.import_module("make_site")


def command_names() -> list[str]:
    group: Any = typer.main.get_command(app)
    return list(group.list_commands(group.make_context("t2v", [], resilient_parsing=True)))


# Errors


def entries() -> dict[str, str]:
    """Sentence of each entry of the troubleshooting page → what stands below it."""
    parts = re.split(r"^### (.+)$", TROUBLES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        title: re.split(r"^## ", text, flags=re.MULTILINE)[0]
        for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def sentences_of_the_program() -> set[str]:
    """Every text in the packages, with … for what is filled in."""
    found = set()
    for file in (path for package in make_reference.PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = re.sub(r"\{\w+\}", "…", node.value)
            else:
                continue
            found.add(re.sub("…+", "…", text))
    return found


def test_every_class_of_error_has_an_entry_with_cause_and_mend() -> None:
    below = entries()
    named = {name for text in below.values() for name in re.findall(r"`([A-Z]\w+)`", text)}
    assert sorted(set(make_reference.error_classes()) - named) == []
    poor = [title for title, text in below.items() if not re.search(r"\*\*Fix:\*\* .*`[^`]+`", text)]
    assert poor == []
    causes = {
        title: re.sub(r"^`\w+`,? ?|exit code \d+\.?|\*\*Fix.*", "", text.strip(), flags=re.S)
        for title, text in below.items()
    }
    assert [title for title, cause in causes.items() if len(cause.split()) < 3] == []


def test_every_entry_is_headed_by_a_sentence_that_the_program_says() -> None:
    said = sentences_of_the_program()
    assert [title for title in entries() if title not in said] == []


def test_an_entry_says_the_exit_code_that_its_class_has() -> None:
    codes = {name: code for code, names in make_reference.classes_by_exit_code().items() for name in names}
    wrong = []
    for title, text in entries().items():
        said = re.match(r"\s*`(\w+)`, exit code (\d+)", text)
        if said and said[1] != "Stopped" and codes[said[1]] != int(said[2]):
            wrong.append(title)
    assert wrong == []


# The reference


def test_the_reference_names_every_setting_key_exit_code_and_command() -> None:
    pages = make_reference.pages()
    for verb, spec in SPECS.items():
        section = re.search(rf"^## \[{verb}\]$(.*?)(?=^## |\Z)", pages["settings.md"], re.MULTILINE | re.DOTALL)
        assert section is not None, verb
        for name, field in spec.model_fields.items():
            row = re.search(rf"^\| `{name}` \|(.+)$", section[1], re.MULTILINE)
            assert row is not None, (verb, name)
            assert (field.description or "").split("|")[0][:40].replace("[", "\\[").replace("<", "&lt;") in row[1]
    assert [
        name for name in (*HostSettings.model_fields, *TUI_SETTINGS) if f"| `{name}` |" not in pages["settings.md"]
    ] == []
    assert [key.id for key in KEYS if f"`{key.id}` |" not in pages["keys.md"]] == []
    assert list(make_reference.exit_words()) == [0, 1, 2, 3, 4, 130]
    assert [code for code in make_reference.exit_words() if f"| `{code}` |" not in pages["exit-codes.md"]] == []
    assert [name for name in command_names() if f"## t2v {name}\n" not in pages["commands.md"]] == []


def test_the_exit_codes_of_the_reference_are_those_of_the_classes() -> None:
    from remote import errors as remote_errors
    from t2v_core import errors as core_errors

    by_name = {name: code for code, names in make_reference.classes_by_exit_code().items() for name in names}
    real = {
        name: kind.exit_code
        for module in (core_errors, remote_errors)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, core_errors.EngineError) and name != "Stopped"
    }
    assert {name: by_name[name] for name in real} == real
    assert len(real) > 25


# The bill


def test_the_bill_of_the_first_day_is_that_of_the_table_of_prices() -> None:
    prices = tomllib.loads((ROOT / "remote/cost/prices.toml").read_text())
    text = (ROOT / "docs/tutorial/first-day.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ][1:]
    machine = next(group for group in prices["machines"] if "a2-highgpu-1g" in group["usd_per_hour"])
    disk, address, egress = prices["disks"], prices["address"], prices["egress"]
    known = [
        machine["usd_per_hour"]["a2-highgpu-1g"][0],
        address["usd_per_hour"][0],
        disk["usd_per_gb_month"]["pd-balanced"],
        egress["usd_per_gb"]["premium"],
    ]
    amounts = [3, 3, 100 * 24 / 730, 3.1]
    assert [float(row[2].split()[0]) for row in rows[:4]] == known
    made = [float(row[3]) for row in rows[:4]]
    assert made == [pytest.approx(price * amount, abs=0.00501) for price, amount in zip(known, amounts, strict=True)]
    assert float(rows[4][3].strip("*")) == pytest.approx(sum(made))
    for dated in (machine, disk, address):
        assert str(dated["date"]) in text
    assert str(machine["usd_per_hour"]["a2-highgpu-1g"][1]) in text


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pages = folder / "pages"
    make_site.assemble(pages)
    config = (ROOT / "mkdocs.yml").read_text().replace("docs_dir: .site", f"docs_dir: {pages}")
    (folder / "mkdocs.yml").write_text(config)
    ended = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder / "built")],
        cwd=folder, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=200,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return folder / "built"


def test_the_site_is_built_without_a_link_that_leads_nowhere(site: Path) -> None:
    built = {str(file.relative_to(site)) for file in site.rglob("*.html")}
    assert {
        "index.html",
        "commands.html",
        "troubleshooting.html",
        "reference/settings.html",
        "tutorial/first-day.html",
    } <= built
    assert "`dog running" not in (site / "from-the-previous-scripts.html").read_text()
    assert "refine_video_epoch100.py noisy_video.mp4" in (site / "from-the-previous-scripts.html").read_text()


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|iframe|source)[^>]*\ssrc="(?:https?:)?//[^"]+', text) == [], file
        assert re.findall(r'<link(?![^>]*rel="canonical")[^>]*href="(?:https?:)?//[^"]+', text) == [], file
    for file in site.rglob("*.css"):
        assert (
            re.findall(r"url\(\s*[\"']?(?:https?:)?//[^)]+|@import[^;]+//[^;]+", file.read_text(encoding="utf-8")) == []
        ), file
