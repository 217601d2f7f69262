"""Which clip goes into which shard, and what a stop leaves of a shard that is not whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from t2v_core.data.annotations.msrvtt import Clip
from t2v_core.data.quarantine import file_state
from t2v_core.data.store.begun_shard import BegunShard
from t2v_core.data.store.shard_plan import PlannedShard, plan_shards
from t2v_core.data.store.shards import Shard
from t2v_core.disk.files import sha256

IDS = [f"v{number}" for number in range(10)]


def planned(missing: list[str], standing: set[int]) -> dict[str, list[str]]:
    return {shard.name[6:11]: shard.video_ids for shard in plan_shards(IDS, missing, standing, 4)}


def test_a_fresh_list_is_cut_into_runs_and_unusable_clips_leave_no_gap() -> None:
    assert planned(IDS, set()) == {"00000": IDS[:4], "00001": IDS[4:8], "00002": IDS[8:]}
    assert planned([*IDS[:2], *IDS[3:8]], set()) == {"00000": ["v0", "v1", "v3"], "00001": IDS[4:8]}


def test_what_is_missing_from_shards_that_stand_goes_behind_all_others() -> None:
    assert planned(["v1", "v6", "v7", "v8", "v9"], {0, 1}) == {"00002": ["v8", "v9"], "00003": ["v1", "v6", "v7"]}
    assert planned(["v1", "v2"], {0, 1, 2, 3}) == {"00004": ["v1", "v2"]}
    assert planned([], {0, 1, 2}) == {}


PLANNED = PlannedShard("shard-00000.safetensors", ["a", "b", "c"])
SETTINGS = {"frames": 2}


@pytest.fixture
def clips(tmp_path: Path) -> dict[str, Clip]:
    """Three files; nobody decodes them here."""
    for name in PLANNED.video_ids:
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    return {name: Clip(name, tmp_path / f"{name}.mp4", ["a caption"]) for name in PLANNED.video_ids}


def entry(clip: Clip) -> dict[str, Any]:
    size_bytes, mtime_ns = file_state(clip.path)
    return {"video_id": clip.video_id, "size_bytes": size_bytes, "mtime_ns": mtime_ns, "sha256": sha256(clip.path)}


def opened(clips: dict[str, Clip], settings: dict[str, Any] = SETTINGS) -> BegunShard:
    return BegunShard(clips["a"].path.parent, settings, PLANNED, clips)


def begun(clips: dict[str, Clip]) -> BegunShard:
    """A shard with the rows of a and b, put by."""
    shard = opened(clips)
    for value, name in enumerate("ab"):
        shard.add(torch.full((2,), float(value)), entry(clips[name]))
    shard.keep()
    return shard


def names(shard: BegunShard) -> list[str]:
    return [clip.video_id for clip in shard.remaining]


def test_what_was_put_by_is_taken_up_and_gone_when_the_shard_is_whole(clips: dict[str, Clip], tmp_path: Path) -> None:
    begun(clips)
    shard = opened(clips)
    assert (len(shard), names(shard)) == (2, ["c"])
    shard.add(torch.full((2,), 2.0), entry(clips["c"]))
    shard.land()
    landed = Shard(tmp_path / PLANNED.name)
    assert landed.read("latents").tolist() == [[0, 0], [1, 1], [2, 2]]
    assert [row["video_id"] for row in landed.metadata["rows"]] == ["a", "b", "c"]
    assert [path.name for path in tmp_path.glob("*.safetensors")] == [PLANNED.name]


def test_a_clip_that_changed_since_is_encoded_again(clips: dict[str, Clip]) -> None:
    begun(clips)
    clips["a"].path.write_bytes(b"A")
    assert names(opened(clips)) == ["a", "c"]


def test_rows_of_other_settings_and_torn_files_are_nothing(clips: dict[str, Clip], tmp_path: Path) -> None:
    begun(clips)
    assert names(opened(clips, {"frames": 4})) == ["a", "b", "c"]
    (tmp_path / f"begun-{PLANNED.name}").write_bytes(b"torn")
    assert names(opened(clips)) == ["a", "b", "c"]


def test_a_shard_without_a_usable_clip_is_not_written(clips: dict[str, Clip], tmp_path: Path) -> None:
    opened(clips).land()
    assert list(tmp_path.glob("*.safetensors")) == []
