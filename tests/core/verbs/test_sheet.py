"""`t2v sheet`: a grid of videos, each its own file as well, that goes on where it was interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.hosts.door import through_the_door

from t2v_core.data.video.decode import read_all_frames
from t2v_core.disk.plain_text import prompts_in
from t2v_core.errors import InvalidRequest
from t2v_core.settings import values_for
from t2v_core.specs import SheetSpec, make_spec
from t2v_core.verbs.sheet import GAP, cells_of, small, tiled
from t2v_core.workspace import Workspace
from t2v_tui.library.prompts import prompts_of

SHIPPED = {"checkpoint": "embedded", "device": "cpu", "steps": 2}


def asked(**values: Any) -> SheetSpec:
    spec = make_spec("sheet", values)
    assert isinstance(spec, SheetSpec)
    return spec


def test_rows_are_prompts_and_guidance_scales_columns_are_seeds() -> None:
    cells, columns = cells_of(asked(prompts="a cat\n\n# later\na dog", guidance_scales="1, 4", seeds=2, seed=7))
    assert columns == 2
    assert [(cell.prompt, cell.scale, cell.seed) for cell in cells] == [
        ("a cat", 1.0, 7), ("a cat", 1.0, 8), ("a cat", 4.0, 7), ("a cat", 4.0, 8),
        ("a dog", 1.0, 7), ("a dog", 1.0, 8), ("a dog", 4.0, 7), ("a dog", 4.0, 8),
    ]  # fmt: skip


def test_a_long_list_with_one_seed_is_no_single_column() -> None:
    cells, columns = cells_of(asked(prompts="\n".join(f"prompt {number}" for number in range(10))))
    assert (len(cells), columns) == (10, 4)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prompts": "# only a comment\n"}, "no line of it is a prompt"),
        ({"prompts": "a cat", "guidance_scales": "1,two"}, "numbers from 1 to 30 with commas between are expected"),
        ({"prompts": "a cat", "guidance_scales": "0.5"}, "numbers from 1 to 30"),
        ({"prompts": "a cat", "guidance_scales": "nan"}, "numbers from 1 to 30"),
        ({"prompts": "a cat", "seeds": 0}, "greater than or equal to 1"),
    ],
)
def test_what_is_no_sheet_is_a_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make_spec("sheet", values)
    assert words in caught.value.message


def test_more_videos_than_a_sheet_has_room_for_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    lines = "\n".join(f"prompt {number}" for number in range(41))
    ended = through_the_door(tmp_path, "sheet", prompts=lines, seeds=10)
    assert ended.code == 2
    assert "410 videos are more than the 400 that a sheet has room for" in str(ended.events[-1])


def test_settings_of_generate_hold_for_sheets_and_its_own_go_before(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text("[generate]\nsteps = 30\nguidance_scale = 3\n[sheet]\nsteps = 8\n")
    assert values_for("sheet", Workspace(tmp_path), {}, {}) == {"steps": 8, "guidance_scale": 3}


def test_tiles_stand_where_they_belong_and_a_short_one_holds_its_last_frame() -> None:
    videos = [np.full((frames, 4, 6, 3), value, np.uint8) for frames, value in ((2, 50), (1, 100), (2, 150))]
    whole = tiled(videos, 2)
    frames = list(whole.each)
    assert whole.size == (4 + GAP + 4, 6 + GAP + 6)
    assert len(frames) == whole.count == 2
    corners = [int(frames[1][top, left, 0]) for top, left in ((0, 0), (0, 6 + GAP), (4 + GAP, 0), (4 + GAP, 6 + GAP))]
    assert corners == [50, 100, 150, 24]
    assert int(frames[0][4, 0, 0]) == 24


def test_many_large_videos_are_shown_as_small_as_a_player_takes_them() -> None:
    video = np.zeros((1, 1080, 1920, 3), np.uint8)
    assert small(video, 4, 4).shape[1:3] == (538, 956)
    assert small(video, 1, 1) is video


def test_each_video_is_the_one_that_generate_makes_and_the_sheet_shows_them(tmp_path: Path) -> None:
    ended = through_the_door(
        tmp_path, "sheet", prompts="a red circle moving left", seeds=2, guidance_scales="1,3", **SHIPPED
    )
    assert ended.code == 0, ended.events
    done = ended.done
    assert (len(done["cells"]), done["columns"], done["kept"]) == (4, 2, 0)
    cells = [read_all_frames(tmp_path / path).frames for path in done["cells"]]
    grid = read_all_frames(tmp_path / done["video"]).frames
    rows, columns = cells[0].shape[1:3]
    assert grid.shape[1:3] == (2 * rows + GAP, 2 * columns + GAP)
    corner = grid[:, rows + GAP :, columns + GAP :].astype(int)
    assert np.abs(corner - cells[3]).mean() < 6  # h264 was through it twice
    said = json.loads((tmp_path / done["cells"][3]).with_suffix(".json").read_text())
    alone = through_the_door(
        tmp_path, "generate", prompt="a red circle moving left", seed=1, guidance_scale=3, **SHIPPED
    )
    single = json.loads((tmp_path / alone.done["video"]).with_suffix(".json").read_text())
    assert said["verb"] == "generate"
    assert said["spec"] == single["spec"]
    assert np.array_equal(read_all_frames(tmp_path / alone.done["video"]).frames, cells[3])


def test_the_same_again_makes_only_what_is_missing_and_other_settings_make_all(tmp_path: Path) -> None:
    sheet = {"prompts": "a red circle\na blue square", "output": "outputs/mine.mp4", **SHIPPED}
    first = through_the_door(tmp_path, "sheet", **sheet).done
    assert first["cells"] == ["outputs/mine/001-a-red-circle-2-0.mp4", "outputs/mine/002-a-blue-square-2-0.mp4"]
    missing = tmp_path / first["cells"][1]
    missing.unlink()
    missing.with_suffix(".json").unlink()
    kept = (tmp_path / first["cells"][0]).stat().st_mtime_ns
    again = through_the_door(tmp_path, "sheet", **sheet).done
    assert (again["kept"], again["cells"]) == (1, first["cells"])
    assert missing.is_file()
    assert (tmp_path / first["cells"][0]).stat().st_mtime_ns == kept
    other = through_the_door(tmp_path, "sheet", **{**sheet, "steps": 3}).done
    assert other["kept"] == 0
    assert (tmp_path / first["cells"][0]).stat().st_mtime_ns == kept  # what is there is nobody's to write over
    assert other["cells"][0] == "outputs/mine/001-a-red-circle-2-0-2.mp4"


def test_a_list_of_prompts_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_bytes("\ufeff a cat \n\n# no\na dög\r\n".encode())
    assert prompts_of("@prompts.txt", tmp_path) == "a cat\na dög"
    assert prompts_of("a cat @ home") == "a cat @ home"
    assert prompts_in("x\n#y\n z ") == ["x", "z"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"\xff\xfe", "is not UTF-8 text"), (b"# none\n\n", "holds no prompt"),
     (b"x" * (2**20 + 1), "cannot be read")],
)  # fmt: skip
def test_a_list_that_cannot_be_taken_is_a_sentence(content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "prompts.txt").write_bytes(content)
    with pytest.raises(InvalidRequest, match=words):
        prompts_of("@prompts.txt", tmp_path)
