"""The table of keys, and [tui] of t2v.toml."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from t2v_core.errors import InvalidRequest
from t2v_core.settings import values_for
from t2v_core.workspace import Workspace
from t2v_tui.keys import EVERYWHERE, KEYS, key_of, keys_for, while_typing, with_keymap
from t2v_tui.registry import SCREENS
from t2v_tui.settings import read_tui

SOURCES = Path(__file__).parents[3] / "t2v_tui"


def test_no_key_means_two_things_in_one_place() -> None:
    for where in {key.where for key in KEYS}:
        used = [one for key in keys_for(where) for one in key.keys.split(",")]
        assert len(used) == len(set(used)), where
    assert len({key.id for key in KEYS}) == len(KEYS)


def test_every_action_is_a_method_of_somebody() -> None:
    methods = {
        node.name
        for file in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    textual_s = {"action_quit", "action_command_palette"}
    wanted = {f"action_{key.action.partition('(')[0].rpartition('.')[2]}" for key in KEYS}
    assert wanted - methods - textual_s == set()


def test_every_screen_has_a_digit_that_leads_to_it_and_no_other() -> None:
    for entry in SCREENS:
        leads = [key for key in KEYS if key.action == f"go('{entry.name}')"]
        assert len(leads) == 1
        assert not entry.key or entry.key in leads[0].keys.split(",")


def test_keys_that_terminals_and_shells_take_for_themselves_are_left_to_them() -> None:
    taken = {"ctrl+s", "ctrl+z", "ctrl+j", "ctrl+b", "ctrl+a", "ctrl+c", "ctrl+m"}
    assert not taken & {one for key in KEYS for one in key.keys.split(",")}


def test_read_only_leaves_nothing_that_writes() -> None:
    for where in {key.where for key in KEYS}:
        assert not [key for key in keys_for(where, is_read_only=True) if key.writes]
    assert key_of("start") not in keys_for(EVERYWHERE, is_read_only=True)


def test_while_a_text_is_typed_only_keys_that_are_no_text_are_shown_with_the_way_out_first() -> None:
    keys = [*keys_for("generate"), *keys_for("log-pane"), *keys_for(EVERYWHERE)]
    shown = [(key.shown, key.label) for key in while_typing(keys) if key.label]
    assert shown == [("esc", "Leave"), ("^g", "Generate"), ("f1", "Help"), ("^p", "Palette"), ("^q", "Quit")]


def test_keys_are_what_the_user_says(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text('[tui]\ntheme = "t2v-light"\n[tui.keys]\nstart = "ctrl+t"\n')
    settings = read_tui(Workspace(tmp_path))
    keys = {key.id: key for key in with_keymap(KEYS, settings.keys)}
    assert (settings.theme, keys["start"].shown, keys["help"].shown) == ("t2v-light", "^t", "?")


@pytest.mark.parametrize(
    ("content", "sentence", "hint"),
    [
        ('[tui]\nthem = "x"\n', "has no setting 'them'", "did you mean 'theme'?"),
        ("[tui]\nbell = 3\n", "bell = 3: true or false is expected", "the terminal's bell"),
        ('[tui.keys]\nstrt = "t"\n', "there is no action 'strt'", "did you mean 'start'?"),
        ("[tui.keys]\nstart = 3\n", 'a section of ACTION = "KEY" lines', "the names are in the help"),
        ('tui = "x"\n', "'tui' is a section, not a value", "write [tui] on its own line"),
        ("[tui\n", "line 1: not valid TOML", ""),
    ],
)
def test_a_wrong_setting_is_one_sentence(tmp_path: Path, content: str, sentence: str, hint: str) -> None:
    (tmp_path / "t2v.toml").write_text(content)
    with pytest.raises(InvalidRequest) as caught:
        read_tui(Workspace(tmp_path))
    assert sentence in caught.value.message
    assert hint in caught.value.hint


def test_the_rest_of_t2v_knows_the_section(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text('[tui]\ntheme = "t2v-dark"\n')
    assert values_for("train", Workspace(tmp_path), {}, {}) == {}
