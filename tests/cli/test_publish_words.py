"""What `t2v publish` lists before it asks, what counts as a yes, and that it asks only to send something."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from bench.hub import TOKEN, Hub

from t2v_core.errors import InvalidRequest
from t2v_core.events.models_listed import ListedFile, Published
from t2v_tui.cli.engine.sharing import listing, require_yes
from t2v_tui.cli.main import main

FILES = (
    ListedFile(name="README.md", size_bytes=1200, state="replaces"),
    ListedFile(name="denoiser/weights.safetensors", size_bytes=3_000_000, state="new"),
    ListedFile(name="t2v.json", size_bytes=900, state="same"),
)


def of(*, is_new: bool, is_private: bool) -> Published:
    return Published(
        url="https://hub/me/red", files=FILES, is_new=is_new, is_private=is_private, is_done=False, uploaded_bytes=0
    )


def test_the_list_says_what_goes_where_and_who_will_see_it() -> None:
    assert listing(of(is_new=True, is_private=True)) == [
        "2 files, 3.0 MB, would go to https://hub/me/red, a new repository that only you can see:",
        "       1 kB  README.md  replaces what is there",
        "     3.0 MB  denoiser/weights.safetensors",
        "       1 kB  t2v.json  is there already",
    ]
    assert listing(of(is_new=False, is_private=False))[0].endswith("red, a repository that everybody can see:")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_a_yes_of_somebody_who_is_here_uploads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    require_yes()
    assert capsys.readouterr() == ("", "upload this? [y/N] ")
    for stdin, sentence in (
        (Terminal("\n"), "nothing was uploaded"),
        (Terminal(""), "nothing was uploaded"),
        (io.StringIO("y\n"), "nothing was uploaded: nobody is here to confirm it"),
    ):
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(InvalidRequest) as refused:
            require_yes()
        assert refused.value.message == sentence


def test_it_lists_asks_and_uploads_and_asks_no_more_once_all_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = tmp_path / "work/shared"
    shared.mkdir(parents=True)
    (shared / "t2v.json").write_text("{}")
    (shared / "README.md").write_text("# red")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("sys.argv", ["t2v", "publish", "me/red", "shared"])
    with Hub() as hub:
        for name, value in hub.environment(tmp_path / "hf", token=TOKEN).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.stdin", Terminal("y\n"))
        assert main() == 0
        out, err = capsys.readouterr()
        assert out == f"{hub.url}/me/red\n"
        assert err.index("2 files, ") < err.index("upload this?") < err.index("done: ")
        assert set(hub.repos["me/red"].files) == {"t2v.json", "README.md"}
        assert main() == 0
        out, err = capsys.readouterr()
        assert (out, "upload this?" in err) == (f"{hub.url}/me/red\n", False)
