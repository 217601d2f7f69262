"""Where a setting comes from, and what is said when it is wrong."""

import re
from pathlib import Path
from typing import Any

import pytest

from t2v_core.errors import InvalidRequest
from t2v_core.settings import FIELDS, values_for
from t2v_core.specs import make_spec
from t2v_core.workspace import Workspace

ROOT = Path(__file__).parents[3]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def refusal(verb: str, workspace: Workspace, environ: dict[str, str], flags: dict[str, object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        values_for(verb, workspace, environ, flags)
    return caught.value


def test_a_flag_beats_the_environment_which_beats_the_section_which_beats_the_top(workspace: Workspace) -> None:
    workspace.settings_file.write_text('device = "mps"\nseed = 1\nprecision = "fp32"\n[train]\nseed = 2\nepochs = 3\n')
    environ = {"T2V_EPOCHS": "4", "T2V_TRAIN_EPOCHS": "5", "T2V_KEEP_LAST": "6", "PATH": "/bin"}
    values = values_for("train", workspace, environ, {"keep_last": "7"})
    assert values == {"device": "mps", "seed": 2, "precision": "fp32", "epochs": "5", "keep_last": "7"}
    spec = make_spec("train", values).model_dump()
    assert (spec["seed"], spec["epochs"], spec["keep_last"]) == (2, 5, 7)


def test_a_key_at_the_top_reaches_only_verbs_that_have_it(workspace: Workspace) -> None:
    workspace.settings_file.write_text('vae = "embedded"\n[add-noise]\nstrength = 0.5\n')
    assert values_for("train", workspace, {}, {}) == {}
    assert values_for("preprocess", workspace, {}, {}) == {"vae": "embedded"}
    assert values_for("add-noise", workspace, {}, {}) == {"strength": 0.5}


def test_without_a_file_the_defaults_hold(workspace: Workspace) -> None:
    assert values_for("train", workspace, {"T2V_WORKSPACE": "/elsewhere", "T2V_DEVICE": ""}, {}) == {}


@pytest.mark.parametrize(
    ("text", "line", "wrong", "near"),
    [
        ('data = "x"\n\nepoch = 3\n', 3, "'epoch'", "'epochs'"),
        ("[train]\n# batch\nbatch-size = 3\n", 3, "'batch-size'", "'batch_size'"),
        ("seed = 1\n\n[tran]\nepochs = 3\n", 3, "[tran]", "'train'"),
        ("[add_noise]\nstrength = 0.5\n", 1, "[add_noise]", "'add-noise'"),
        ("seed = 1\ntrain.epoch = 3\n", 2, "'epoch'", "'epochs'"),
        ("train = 3\n", 1, "'train'", "[train]"),
    ],
)
def test_an_unknown_key_or_section_is_named_with_its_line_and_the_nearest(
    workspace: Workspace, text: str, line: int, wrong: str, near: str
) -> None:
    workspace.settings_file.write_text(text)
    error = refusal("generate", workspace, {}, {})  # a section of another verb is read too
    assert f"{workspace.settings_file} line {line}:" in error.message
    assert wrong in error.message
    assert near in error.hint


@pytest.mark.parametrize(
    ("text", "line"), [("seed = 1\ndevice = cuda\n", 2), ("[train\n", 1), ("seed = 1\nseed = 2\n", 2), ('a = "x', 1)]
)
def test_invalid_toml_names_file_and_line(workspace: Workspace, text: str, line: int) -> None:
    workspace.settings_file.write_text(text)
    assert f"{workspace.settings_file} line {line}: not valid TOML" in refusal("train", workspace, {}, {}).message


def test_a_file_that_is_no_text_names_its_line(workspace: Workspace) -> None:
    workspace.settings_file.write_bytes(b"seed = 1\ndevice = '\xff'\n")
    assert "line 2: not UTF-8" in refusal("train", workspace, {}, {}).message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[train]\n\nepochs = "many"\n', "line 3: epochs = 'many': a whole number is expected"),
        ("[train]\nepochs = true\n", "line 2: epochs = true: true or false does not fit"),
        ("seed = [1, 2]\n", "line 1: seed: one value is expected, not a list"),
        ("[train]\nseed = 2026-11-22\n", "line 2: seed: one value is expected, not a date"),
        ("[train]\nepochs = 0\n", "line 2: epochs = 0: input should be greater than or equal to 1"),
        ("[train]\npreset = ['tiny']\n", "line 2: preset: one value is expected, not a list"),
    ],
)
def test_a_value_that_does_not_fit_says_where_it_came_from(workspace: Workspace, text: str, said: str) -> None:
    workspace.settings_file.write_text(text)
    assert said in refusal("train", workspace, {}, {}).message


def test_the_environment_and_flags_are_named_as_they_were_typed(workspace: Workspace) -> None:
    assert refusal("train", workspace, {"T2V_TRAIN_EPOCHS": "x"}, {}).message.startswith("T2V_TRAIN_EPOCHS = 'x':")
    assert refusal("train", workspace, {}, {"batch_size": "x"}).message.startswith("--batch-size = 'x':")
    with pytest.raises(InvalidRequest, match="PROMPT = ''"):
        values_for("generate", workspace, {}, {"prompt": ""}, flag_names={"prompt": "PROMPT"})


def test_an_unknown_variable_is_named_with_the_nearest(workspace: Workspace) -> None:
    error = refusal("train", workspace, {"T2V_TRAIN_EPOCH": "3"}, {})
    assert "T2V_TRAIN_EPOCH" in error.message
    assert error.hint == "did you mean 'T2V_TRAIN_EPOCHS'?"


def test_a_preset_that_does_not_exist_is_told_with_the_nearest(workspace: Workspace) -> None:
    error = refusal("train", workspace, {}, {"preset": "tinny"})
    assert error.message.startswith("--preset = 'tinny': input should be 'seed', 'base', 'tiny', 'unet3d' or 'unet3d")
    assert error.hint == "did you mean 'tiny'?"


def test_no_variable_that_our_own_programs_set_or_read_is_taken_for_a_wrong_setting(tmp_path: Path) -> None:
    sources = [*ROOT.glob("remote/**/*.py"), *ROOT.glob("t2v_tui/**/*.py"), *ROOT.glob("t2v_core/**/*.py")]
    names = {name for file in sources for name in re.findall(r"T2V_[A-Z_]*[A-Z]", file.read_text())}
    others = {name: "" if name.removeprefix("T2V_").lower() in FIELDS else "x" for name in names}
    others["T2V_TRAIN_EPOCHS"] = ""
    assert len(names) > 15
    assert values_for("generate", Workspace(tmp_path), others, {}) == {}


def test_encoders_said_for_every_verb_are_those_of_the_data_and_not_of_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text('vae = "embedded"\n[refine]\nvae = "elsewhere"\n')
    environ = {"T2V_TEXT_ENCODER": "embedded"}
    asked = {verb: values_for(verb, Workspace(tmp_path), environ, {}) for verb in ("preprocess", "generate", "refine")}
    assert asked["preprocess"] == {"vae": "embedded", "text_encoder": "embedded"}
    assert asked["generate"] == {}
    assert asked["refine"] == {"vae": "elsewhere"}


def test_a_flag_displaces_what_says_the_same_in_another_way(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text('[preprocess]\nframes = 9\nwidth = 64\nbuckets = "64x32x9"\nstride = 2\n')
    said = {"T2V_HEIGHT": "32"}

    def asked(**flags: str) -> dict[str, Any]:
        return values_for("preprocess", Workspace(tmp_path), said, flags)

    assert asked(buckets="32x32x5") == {"buckets": "32x32x5", "stride": 2}
    assert asked(frames="5") == {"frames": "5", "width": 64, "stride": 2, "height": "32"}
