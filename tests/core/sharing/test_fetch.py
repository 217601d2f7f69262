"""`t2v models fetch` against a hub on loopback, with the hub's real client: what comes, what does not come twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest
import torch
from bench.hub import TOKEN, Hub, asked_here
from support.engine.engine import StopsAfter, events_of, job_here
from support.engine.forked_command import ran
from support.engine.open_models import save_open_model
from support.hosts.door import EndedHere, through_the_door
from support.hosts.far_host import far_host
from support.machines.small_disk import fill, mounted

from t2v_core.errors import InvalidRequest, Stopped, WorkFailed
from t2v_core.events.models_listed import ModelsListed
from t2v_core.models.open.families import open_model
from t2v_core.models.open.finding import find_open_model
from t2v_core.models.open.parts import Placing
from t2v_core.specs import FetchSpec
from t2v_core.verbs.open.fetch import fetch
from t2v_tui.cli.engine.models import table

ID = "owner/tiny-wan"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Wan as people upload it: in several forms, with pictures."""
    folder = save_open_model("wan", tmp_path_factory.mktemp("models") / "wan")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    for name in ("transformer/diffusion_pytorch_model.fp16.safetensors", "transformer/x.bin", "assets/film.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x" * 1000)
    return folder


@pytest.fixture
def hub(wan: Path) -> Iterator[Hub]:
    with Hub() as hub:
        hub.add(ID, wan)
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "hf"


def fetched(hub: Hub, home: Path, workspace: Path, *, asked: str = ID, token: str = "") -> EndedHere:
    workspace.mkdir(exist_ok=True)
    with asked_here(hub, home, token=token):
        return through_the_door(workspace, "fetch", id=asked)


def begun(hub: Hub, home: Path, workspace: Path) -> ForkProcess:
    """The same in a process of its own, which has everything imported; it exits as the job does."""
    process = multiprocessing.get_context("fork").Process(target=lambda: os._exit(fetched(hub, home, workspace).code))
    process.start()
    return process


def test_what_the_family_needs_comes_and_can_be_used_without_a_network(hub: Hub, home: Path, tmp_path: Path) -> None:
    ended = fetched(hub, home, tmp_path / "work")
    assert ended.code == 0, ended.log
    folder = Path(ended.done["paths"][0])
    came = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert came == {name for name in hub.repos[ID].files if name.endswith((".json", ".md", ".safetensors"))} - {
        "transformer/diffusion_pytorch_model.fp16.safetensors"
    }
    assert all((folder / name).read_bytes() == hub.repos[ID].files[name] for name in came)
    assert ended.done["bytes"] == sum(len(hub.repos[ID].files[name]) for name in came)
    with asked_here(hub, home):
        asked_before = len(hub.asked)
        model = open_model(find_open_model(ID), Placing(torch.device("cpu"), torch.float32))
        assert (model.name, len(hub.asked)) == ("Wan", asked_before)


def test_a_second_time_nothing_comes(hub: Hub, home: Path, tmp_path: Path) -> None:
    fetched(hub, home, tmp_path / "work")
    sent = hub.sent_bytes
    again = fetched(hub, home, tmp_path / "work")
    assert (again.code, again.done["fetched_bytes"], hub.sent_bytes) == (0, 0, sent)


def test_a_connection_that_is_cut_is_taken_up_where_it_broke_off(hub: Hub, home: Path, tmp_path: Path) -> None:
    hub.repos[ID].files[WEIGHTS] = os.urandom(3_000_000)
    hub.cut_after = [1_000_000, 1_500_000]
    ended = fetched(hub, home, tmp_path / "work")
    assert ended.code == 0, ended.log
    assert (Path(ended.done["paths"][0]) / WEIGHTS).read_bytes() == hub.repos[ID].files[WEIGHTS]
    assert len([one for one in hub.ranges if not one.endswith("=0-")]) == 2
    assert [event["unit"] for event in ended.of("progress")] == ["MB"] * len(ended.of("progress")) != []


def test_a_hub_that_knows_no_ranges_sends_it_anew(hub: Hub, home: Path, tmp_path: Path) -> None:
    hub.repos[ID].files[WEIGHTS] = os.urandom(3_000_000)
    hub.cut_after, hub.knows_ranges = [1_000_000], False
    ended = fetched(hub, home, tmp_path / "work")
    assert (Path(ended.done["paths"][0]) / WEIGHTS).read_bytes() == hub.repos[ID].files[WEIGHTS]


def test_a_killed_download_goes_on_from_there(hub: Hub, home: Path, tmp_path: Path) -> None:
    whole = hub.repos[ID].files[WEIGHTS] = os.urandom(3_000_000)
    hub.waits_after = 2_000_000
    first = begun(hub, home, tmp_path / "work")
    assert hub.is_waiting.wait(60)
    partial = next(iter((home / "hub").rglob("*.incomplete")))
    while partial.stat().st_size < 1_900_000:
        assert first.is_alive()
    first.kill()
    first.join(60)
    hub.go.set()
    hub.waits_after = None
    has = partial.stat().st_size
    ended = fetched(hub, home, tmp_path / "work")
    assert ended.code == 0, ended.log
    assert f"{WEIGHTS} bytes={has}-" in hub.ranges
    assert (Path(ended.done["paths"][0]) / WEIGHTS).read_bytes() == whole


def test_asked_to_stop_it_stops_between_two_pieces_and_keeps_what_came(hub: Hub, home: Path, tmp_path: Path) -> None:
    hub.repos[ID].files[WEIGHTS] = os.urandom(3_000_000)
    (tmp_path / "work").mkdir()
    job = job_here(tmp_path / "work")
    stopping = StopsAfter(job.directory, job.workspace, job.events, questions=30)
    with asked_here(hub, home), pytest.raises(Stopped):
        fetch(FetchSpec(id=ID), stopping)
    kept = sum(path.stat().st_size for path in (home / "hub").rglob("*.incomplete"))
    ended = fetched(hub, home, tmp_path / "work")
    assert ended.code == 0
    assert any(one.endswith(f"bytes={kept}-") for one in hub.ranges)


def test_bytes_that_arrive_otherwise_are_refused_and_the_next_try_is_whole(
    hub: Hub, home: Path, tmp_path: Path
) -> None:
    hub.damaged = {WEIGHTS}
    ended = fetched(hub, home, tmp_path / "work")
    assert (ended.code, ended.error["message"]) == (
        1, f"{WEIGHTS} of {ID} arrived damaged: its checksum differs",
    )  # fmt: skip
    hub.damaged = set()
    assert fetched(hub, home, tmp_path / "work").code == 0


def test_a_disk_that_is_too_small_is_said_before_and_one_that_fills_loses_nothing(
    hub: Hub, home: Path, tmp_path: Path
) -> None:
    whole = hub.repos[ID].files[WEIGHTS] = os.urandom(3_000_000)
    with mounted(tmp_path / "small", "1m") as small:
        ended = fetched(hub, small, tmp_path / "work")
        assert ended.code == 1
        assert ended.error["message"].startswith(f"the model {ID} needs 3.")
    with mounted(tmp_path / "filling", "8m") as filling:
        hub.waits_after = 2_000_000
        first = begun(hub, filling, tmp_path / "full")
        assert hub.is_waiting.wait(60)
        filler = fill(filling)
        hub.go.set()
        first.join(60)
        assert first.exitcode == 1
        [job] = (tmp_path / "full/jobs").iterdir()
        [error] = [event for event in events_of(job) if event["kind"] == "error"]
        assert error["message"].startswith("the disk is full: of transformer/")
        filler.unlink()
        hub.waits_after = None
        ended = fetched(hub, filling, tmp_path / "work")
        assert (Path(ended.done["paths"][0]) / WEIGHTS).read_bytes() == whole
        assert any(not one.endswith("=0-") for one in hub.ranges)


def test_a_gated_model_says_where_to_agree_and_comes_with_a_login(hub: Hub, home: Path, tmp_path: Path) -> None:
    hub.repos[ID].is_gated = True
    ended = fetched(hub, home, tmp_path / "work")
    assert ended.sentence == f"the makers of {ID} let only those have it who are logged in and agreed to its terms"
    assert ended.error["hint"].startswith(f"agree at {hub.url}/{ID}, then log in")
    assert fetched(hub, home, tmp_path / "work", token=TOKEN).code == 0


def test_generate_says_of_its_own_download_what_hinders_it(hub: Hub, home: Path, tmp_path: Path) -> None:
    """Where nobody ran `t2v models fetch` before."""
    hub.repos[ID].is_gated = True
    with asked_here(hub, home), pytest.raises(InvalidRequest, match="cannot be fetched: the makers of") as gated:
        find_open_model(ID)
    assert gated.value.hint.startswith(f"agree at {hub.url}/{ID}, then log in")
    hub.repos[ID].is_gated = False
    hub.repos[ID].files[WEIGHTS] = os.urandom(3_000_000)
    with (
        mounted(tmp_path / "small", "1m") as small,
        asked_here(hub, small),
        pytest.raises(WorkFailed, match="the disk is full"),
    ):
        find_open_model(ID)
    (Path(fetched(hub, home, tmp_path / "work").done["paths"][0]) / WEIGHTS).unlink()
    with Hub() as gone:
        pass
    with asked_here(gone, home), pytest.raises(InvalidRequest) as half:
        find_open_model(ID)
    assert half.value.message.startswith(
        f"the model {ID} is here only in part ({WEIGHTS} is missing) and cannot be fetched: the hub cannot be reached: "
    )


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("owner/nobody", "the hub has no model owner/nobody, or it is private and nobody is logged in here"),
        ("no id at all", "no id at all is not a hub id"),
    ],
)
def test_an_id_that_is_none(hub: Hub, home: Path, tmp_path: Path, asked: str, sentence: str) -> None:
    assert fetched(hub, home, tmp_path / "work", asked=asked).sentence == sentence


def test_what_t2v_cannot_use_is_refused_before_it_comes(hub: Hub, home: Path, tmp_path: Path) -> None:
    hub.add("owner/flux", tmp_path)
    hub.repos["owner/flux"].files = {"model_index.json": b'{"_class_name": "FluxPipeline"}', "x/y": bytes(100_000)}
    assert (
        "is a FluxPipeline, which t2v does not know"
        in fetched(hub, home, tmp_path / "work", asked="owner/flux").sentence
    )
    hub.repos["owner/flux"].files = {"weights.bin": bytes(100_000)}
    assert "holds nothing that t2v uses" in fetched(hub, home, tmp_path / "work", asked="owner/flux").sentence
    assert hub.sent_bytes < 1000


def test_without_a_hub_it_says_so_and_what_is_here_whole_is_enough(hub: Hub, home: Path, tmp_path: Path) -> None:
    with Hub() as gone:
        pass
    ended = fetched(gone, home, tmp_path / "work")
    assert ended.code == 1
    assert ended.error["message"].startswith("the hub cannot be reached: ")
    fetched(hub, home, tmp_path / "work")
    again = fetched(gone, home, tmp_path / "work")
    assert again.code == 0
    assert again.warnings.endswith("; the model is here, whole")


def test_a_licence_that_is_not_open_is_named_before(hub: Hub, home: Path, tmp_path: Path) -> None:
    hub.repos[ID].files["README.md"] = b"---\nlicense: other\nlicense_name: mine-only\n---\n"
    ended = fetched(hub, home, tmp_path / "work")
    assert f"{ID} is not free for every use: its licence is mine-only" in ended.warnings
    kinds = [event["kind"] for event in ended.events]
    assert kinds.index("warning") < kinds.index("done")
    assert ended.done["licence"] == "mine-only"


def test_the_list_says_what_is_here_and_what_is_missing_of_it(hub: Hub, home: Path, wan: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    folder = Path(fetched(hub, home, work).done["paths"][0])
    save_open_model("ltx", work / "models/mine")
    for name, record in (("other", {}), ("style", {"adapter": {}, "family": "Wan"}), ("world", {"adapter": None})):
        (work / "models" / name).mkdir()
        if record:
            (work / "models" / name / "t2v.json").write_text(json.dumps(record | {"format": "t2v-export"}))
    (work / "models/style/pytorch_lora_weights.safetensors").write_bytes(b"12345678")
    (work / "models/style/README.md").write_text("---\nlicense: mit\n---\n")
    (folder / WEIGHTS).unlink()
    with asked_here(hub, home):
        ended = through_the_door(work, "models")
    listed = ModelsListed.of({key: value for key, value in ended.done.items() if key not in ("kind", "seconds")})
    assert listed is not None
    assert [(one.id, one.family, one.licence, one.is_open, one.missing) for one in listed.models] == [
        (ID, "Wan", "apache-2.0", True, (WEIGHTS,)),
        ("models/mine", "LTX-Video", "LTXV open weights", False, ()),
        ("models/style", "LoRA of Wan", "mit", True, ()),
        ("models/world", "t2v", "not named", False, ("every .safetensors file",)),
    ]
    mine = sum(path.stat().st_size for path in (work / "models/mine").rglob("*") if path.is_file())
    assert listed.models[1].size_bytes == mine
    lines = table(listed.models)
    assert lines[1].endswith(f"apache-2.0                    incomplete: {WEIGHTS} is missing")
    assert lines[2].endswith("LTXV open weights (not open)  whole")


def test_the_command_shows_them(tmp_path: Path) -> None:
    save_open_model("ltx", tmp_path / "models/mine")
    shown, as_json = (ran(words, tmp_path, dict(os.environ)) for words in (["models"], ["models", "--json"]))
    assert [line.split()[1] for line in shown.stdout.splitlines() if line.startswith("models/mine ")] == ["LTX-Video"]
    assert json.loads(as_json.stdout)["models"][-1]["family"] == "LTX-Video"


def test_a_host_fetches_by_itself_and_lists_it(hub: Hub, tmp_path: Path) -> None:
    """Its login, its cache: nothing of this machine's."""
    hub.repos[ID].is_gated = True
    with far_host(tmp_path / "far") as far:
        python = tmp_path / "python"
        said = hub.environment(far.there / "hf", token=TOKEN)
        python.write_text(
            "\n".join(
                [
                    "#!/bin/sh",
                    *(f"export {name}={value}" for name, value in said.items()),
                    f'exec {sys.executable} "$@"',
                ]
            )
        )
        python.chmod(0o755)
        far.write_settings()
        settings = far.here.root / "t2v.toml"
        settings.write_text(re.sub(r'^python = ".*"$', f'python = "{python}"', settings.read_text(), flags=re.M))
        fetching = far.ran("models", "fetch", ID, "--host", "vm")
        assert fetching.returncode == 0, fetching.stderr
        folder = fetching.stdout.strip().removeprefix("vm:")
        assert folder.startswith(str(far.there / "hf"))
        listed = json.loads(far.ran("models", "--host", "vm", "--json").stdout)["models"]
        assert [(one["id"], one["path"], one["missing"]) for one in listed] == [(ID, folder, [])]
