"""Every number of every spec has both its bounds: taken at either end, refused beyond it in one sentence, and tried."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo
from support.engine.engine import job_here
from support.engine.small_checkpoint import save_small_checkpoint
from support.engine.training_set import asked
from support.hosts.door import EndedHere, through_the_door

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.data.video.frames import write_video
from t2v_core.errors import InvalidRequest
from t2v_core.settings import values_for
from t2v_core.specs import MAX_SEED, SPECS, ShapesSpec, make_spec
from t2v_core.workspace import Workspace

ANY = settings(max_examples=40, deadline=None, database=None, print_blob=True)
REQUIRED: dict[str, dict[str, Any]] = {
    "generate": {"prompt": "a"},
    "sheet": {"prompts": "a"},
    "add-noise": {"input": "a.mp4", "output": "b.mp4"},
    "refine": {"input": "a.mp4", "output": "b.mp4", "prompt": "a"},
    "import-latents": {"old_dir": "old"},
    "import-checkpoint": {"old": "old.pt"},
    "fetch": {"id": "owner/name"},
    "export": {"folder": "shared"},
    "publish": {"id": "owner/name", "folder": "shared"},
}


@dataclass(frozen=True)
class Number:
    """One setting that is a number. step: the next value from a bound; inclusive: is the bound itself allowed?"""

    verb: str
    name: str
    kind: type[int] | type[float]
    field: FieldInfo

    def __str__(self) -> str:
        return f"{self.verb}.{self.name}"

    def bound(self, inclusive: str, exclusive: str) -> tuple[float, bool] | None:
        found = [(getattr(m, key), key == inclusive) for m in self.field.metadata for key in (inclusive, exclusive)
                 if hasattr(m, key)]  # fmt: skip
        return found[0] if found else None

    @property
    def lowest(self) -> tuple[float, bool] | None:
        return self.bound("ge", "gt")

    @property
    def highest(self) -> tuple[float, bool] | None:
        return self.bound("le", "lt")

    def beside(self, value: float, towards: float) -> float:
        if self.kind is int:
            return value + (1 if towards > value else -1)
        return math.nextafter(value, towards)

    def taken(self) -> tuple[float, float]:
        """The smallest and the largest value that are allowed."""
        assert self.lowest is not None
        assert self.highest is not None
        (low, takes_low), (high, takes_high) = self.lowest, self.highest
        return low if takes_low else self.beside(low, math.inf), high if takes_high else self.beside(high, -math.inf)


def kind_of(field: FieldInfo) -> type[int] | type[float] | None:
    types = {field.annotation, *get_args(field.annotation)}
    return int if int in types else float if float in types else None


NUMBERS = [
    Number(verb, name, kind, field)
    for verb, spec in SPECS.items()
    for name, field in spec.model_fields.items()
    if (kind := kind_of(field)) is not None
]


def ask(number: Number, value: object) -> object:
    return getattr(make_spec(number.verb, REQUIRED.get(number.verb, {}) | {number.name: value}), number.name)


def refused(number: Number, value: object) -> None:
    """By whatever way it is asked: as a spec, and as a flag, which is text."""
    with pytest.raises(InvalidRequest) as caught:
        ask(number, value)
    assert caught.value.message.startswith(f"{number.name} = ")
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    text = "9" * 5000 if isinstance(value, int) and value > 10**4000 else str(value)
    with pytest.raises(InvalidRequest, match="--"):
        values_for(number.verb, Workspace(Path("/nowhere")), {}, {number.name: text})


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_a_number_has_both_bounds_and_is_taken_at_either_end(number: Number) -> None:
    assert number.lowest is not None
    assert number.highest is not None
    for end in number.taken():
        assert ask(number, end) == end


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_beyond_its_bounds_it_is_refused_in_one_sentence_with_a_hint(number: Number) -> None:
    low, high = number.taken()
    refused(number, number.beside(low, -math.inf))
    refused(number, number.beside(high, math.inf))
    for value in ("nan", "inf", "-inf", math.nan, math.inf, -math.inf, "", "many", "1e999"):
        refused(number, value)


@ANY
@given(st.sampled_from(NUMBERS), st.data())
def test_whatever_lies_beyond_is_refused(number: Number, data: st.DataObject) -> None:
    low, high = number.taken()
    if number.kind is int:
        beyond: Any = st.integers(max_value=int(low) - 1) | st.integers(min_value=int(high) + 1)
        beyond |= st.just(10**5000) | st.floats(allow_infinity=True).filter(lambda x: not x.is_integer())
    else:
        beyond = st.floats(max_value=low, exclude_max=True) | st.floats(min_value=high, exclude_min=True)
        beyond |= st.integers(min_value=int(high) + 1)
    refused(number, data.draw(beyond))


# Tried: what is cheap enough at its ends is done there


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bounds")
    make_set(ShapesSpec(data=Path("data"), clips=2, test_clips=2, frames=4, size=32), job_here(root))
    save_small_checkpoint(root)
    write_video(root / "in.mp4", np.full((9, 32, 32, 3), 90, np.uint8), fps=8)
    return root


def ends(verb: str, *left_out: str) -> list[tuple[str, str, float]]:
    """(verb, setting, value) for both ends of each number of a verb."""
    own = [number for number in NUMBERS if number.verb == verb and number.name not in left_out]
    return [(verb, number.name, value) for number in own for value in number.taken()]


# What is left out takes days or terabytes at its upper end, as it is asked to; `steps` and `prompts` are small here.
TRIED = [
    *ends("shapes", "clips", "test_clips", "size", "frames"), ("shapes", "frames", 64), ("shapes", "size", 512),
    *ends("generate", "steps"), *ends("sheet", "steps", "seeds"), *ends("add-noise"), *ends("refine", "steps"),
    *ends("evaluate", "steps", "prompts", "seeds"), ("evaluate", "prompts", 10**6),
    *ends("check", "timeout_s", "workers"), ("check", "timeout_s", 86_400),
    *ends("preprocess", "frames", "size"), ("preprocess", "frames", 1), ("preprocess", "size", 16),
    ("preprocess", "size", 1024),
]  # fmt: skip
VALUES: dict[str, dict[str, Any]] = {
    "shapes": {"clips": 1, "test_clips": 1, "frames": 2, "size": 32},
    "check": {"data": "data", "workers": 1},
    "preprocess": {"data": "data", "vae": "embedded", "text_encoder": "embedded", "frames": 2, "size": 32},
    "generate": {"prompt": "a red circle", "steps": 1},
    "sheet": {"prompts": "a red circle", "steps": 1, "seeds": 2},
    "add-noise": {"input": "in.mp4"},
    "refine": {"input": "in.mp4", "prompt": "a red circle", "steps": 2, "strength": 1},
    "evaluate": {"data": "data", "prompts": 2, "seeds": 1, "steps": 1},
}  # fmt: skip


@pytest.mark.parametrize(("verb", "name", "value"), TRIED, ids=str)
def test_at_either_end_the_work_is_done_or_refused_in_a_sentence(
    verb: str, name: str, value: float, workspace: Path, tmp_path: Path
) -> None:
    place: dict[str, Any] = {}
    if verb in ("generate", "sheet", "add-noise", "refine"):
        place = {"output": str(tmp_path / "out.mp4")}
    elif verb == "shapes":
        place = {"data": str(tmp_path / "shapes")}
    if "device" in SPECS[verb].model_fields:
        place["device"] = "cpu"
    require_no_traceback(through_the_door(workspace, verb, **VALUES[verb] | place | {name: value}))


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp"])
@pytest.mark.parametrize("fps", [0.1, 120.0])
def test_every_kind_of_video_is_written_at_the_slowest_and_the_fastest_rate(
    fps: float, suffix: str, workspace: Path, tmp_path: Path
) -> None:
    target = tmp_path / f"out.{suffix}"
    ended = through_the_door(workspace, "generate", **VALUES["generate"], output=str(target), fps=fps, device="cpu")
    assert ended.code == 0, ended.log
    assert target.is_file()


TRAINED = ends("train", "threads", "epochs", "batch_size", "gradient_accumulation", "samples", "max_steps")


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "name", "value"), TRAINED, ids=str)
def test_a_training_at_either_end_is_done_or_ends_in_a_sentence(
    verb: str, name: str, value: float, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"zero_terminal_snr": False, "objective": "v"} if name == "min_snr_gamma" else {}
    require_no_traceback(through_the_door(tmp_path, verb, **asked(**{"max_steps": 2, name: value} | more)))


def test_seeds_that_are_counted_on_from_the_largest_begin_again_at_0(workspace: Path) -> None:
    values = VALUES["evaluate"] | {"seed": MAX_SEED, "seeds": 2, "device": "cpu"}
    ended = through_the_door(workspace, "evaluate", **values)
    assert ended.code == 0, ended.log


def require_no_traceback(ended: EndedHere) -> None:
    assert ended.code in (0, 1, 2), ended.log
    assert "Traceback" not in ended.log, ended.log
    if ended.code:
        assert "\n" not in ended.error["message"]
        assert not ended.error["message"].split(":")[0].endswith("Error"), ended.error
