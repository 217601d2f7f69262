"""`t2v publish` to a hub on loopback, with the hub's real client: what is listed, sent, seen, and comes back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.hub import TOKEN, Hub, asked_here
from support.engine.training_set import asked
from support.hosts.door import EndedHere, through_the_door
from support.machines.small_disk import mounted

from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.diffusion.pipeline import TextToVideoPipeline


def done(ended: EndedHere) -> EndedHere:
    assert ended.code == 0, (ended.events[-1], ended.log)
    return ended


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


def published(hub: Hub, work: Path, home: Path, *, token: str = TOKEN, **values: Any) -> EndedHere:
    with asked_here(hub, home, token=token):
        return through_the_door(work, "publish", **{"id": "me/red", "folder": "shared"} | values)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a model of ours that was trained there, a video that it drew, and its export."""
    work = tmp_path_factory.mktemp("made")
    done(through_the_door(work, "train", **asked(max_steps=3, samples=0)))
    drawn = done(through_the_door(work, "generate", prompt="a red circle", steps=2, device="cpu", seed=5))
    done(through_the_door(work, "export", folder="shared"))
    [sample] = (work / "shared/samples").iterdir()
    assert sample.read_bytes() == (work / drawn.done["video"]).read_bytes()
    return work


@pytest.fixture
def shared(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "shared", tmp_path / "work/shared")
    return tmp_path / "work"


def test_without_a_yes_it_only_lists(hub: Hub, shared: Path, tmp_path: Path) -> None:
    ended = done(published(hub, shared, tmp_path / "hf"))
    names = {
        path.relative_to(shared / "shared").as_posix() for path in (shared / "shared").rglob("*") if path.is_file()
    }
    assert {file["name"] for file in ended.done["files"]} == names - {"manifest.json"}
    assert {file["state"] for file in ended.done["files"]} == {"new"}
    assert (ended.done["is_done"], ended.done["is_new"], ended.done["is_private"]) == (False, True, True)
    assert hub.repos == {}


def test_what_was_published_comes_back_the_same_and_is_private(
    hub: Hub, made: Path, shared: Path, tmp_path: Path
) -> None:
    ended = done(published(hub, shared, tmp_path / "hf", yes=True))
    assert (ended.done["is_done"], hub.repos["me/red"].is_private) == (True, True)
    with asked_here(hub, tmp_path / "hf", token=TOKEN):
        back = Path(done(through_the_door(shared, "fetch", id="me/red")).done["paths"][0])
    came = {path.relative_to(back).as_posix(): path.read_bytes() for path in back.rglob("*") if path.is_file()}
    assert came == {name: (shared / "shared" / name).read_bytes() for name in came}
    assert set(came) == {file["name"] for file in ended.done["files"]}
    [checkpoint] = (made / "checkpoints").glob("checkpoint_*")
    trained = load_pipeline(open_checkpoint(checkpoint), device="cpu", precision="fp32")
    fetched = load_pipeline(open_checkpoint(back), device="cpu", precision="fp32")
    drawn, *again = (
        pipeline("a red circle", num_inference_steps=2, seed=5).frames[0]
        for pipeline in (trained, fetched, TextToVideoPipeline.from_pretrained(back))
    )
    assert all(np.array_equal(drawn, one) for one in again)
    [first] = (made / "outputs").glob("*.mp4")
    asked_again = {"prompt": "a red circle", "steps": 2, "device": "cpu", "seed": 5, "output": "again.mp4"}
    ended = through_the_door(shared, "generate", **asked_again, checkpoint=str(back))
    assert (shared / done(ended).done["video"]).read_bytes() == first.read_bytes()
    assert str(made.parent) not in (back / "t2v.json").read_text()
    assert done(published(hub, shared, tmp_path / "hf", yes=True)).done["uploaded_bytes"] == 0


def test_an_upload_that_broke_off_does_not_send_again_what_is_there(
    hub: Hub, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _s: None)
    hub.refuses_uploads_after = 1
    ended = published(hub, shared, tmp_path / "hf", yes=True)
    assert (ended.code, ended.error["message"]) == (1, "the hub could not do that for me/red: the bench takes no more")
    hub.drops_uploads = True
    ended = published(hub, shared, tmp_path / "hf", yes=True)
    assert (ended.code, ended.error["hint"]) == (
        1, "connect, and run the same command again: it goes on where it broke off",
    )  # fmt: skip
    assert ended.error["message"].startswith("the connection to the hub broke off while sending ")
    assert hub.repos["me/red"].files == {}
    hub.refuses_uploads_after, hub.drops_uploads = None, False
    done(published(hub, shared, tmp_path / "hf", yes=True))
    assert len(hub.received) == len(set(hub.received)) == 2


def test_public_only_when_it_is_said(hub: Hub, shared: Path, tmp_path: Path) -> None:
    done(published(hub, shared, tmp_path / "hf", yes=True, public=True))
    assert not hub.repos["me/red"].is_private


def test_what_differs_is_said_to_replace_what_is_there(hub: Hub, shared: Path, tmp_path: Path) -> None:
    done(published(hub, shared, tmp_path / "hf", yes=True))
    (shared / "shared/README.md").write_text("mine")
    ended = done(published(hub, shared, tmp_path / "hf"))
    assert [one["name"] for one in ended.done["files"] if one["state"] == "replaces"] == ["README.md"]
    assert {one["state"] for one in ended.done["files"]} == {"replaces", "same"}


def test_without_a_login_or_an_export_it_says_what_to_do(hub: Hub, shared: Path, tmp_path: Path) -> None:
    ended = published(hub, shared, tmp_path / "hf", token="")
    assert ended.sentence.startswith("nobody is logged in to the hub here")
    assert ended.error["hint"].startswith("log in on the machine that does the work: hf auth login")
    (shared / "other").mkdir()
    ended = published(hub, shared, tmp_path / "hf", folder="other")
    assert ended.sentence.endswith("is not what t2v export wrote: it has no t2v.json")


def test_what_was_exported_is_named_by_the_flag_that_takes_it(made: Path, tmp_path: Path) -> None:
    ended = through_the_door(tmp_path, "generate", prompt="a red circle", model=str(made / "shared"))
    assert ended.sentence == f"{made / 'shared'} is a model of t2v's own"
    assert ended.error["hint"] == f"--checkpoint {made / 'shared'}"
    for name, text, sentence in (
        ("lora", '{"family": "Wan"}', "is a LoRA that t2v exported, and no checkpoint"),
        ("torn", '{"checkpoint": {', "is damaged: t2v.json cannot be read"),
        ("lacks", '{"checkpoint": {"step": 3}}', "is damaged: t2v.json: it has no fps"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t2v.json").write_text(text)
        assert sentence in through_the_door(tmp_path, "generate", prompt="a", checkpoint=name).sentence


def test_what_was_exported_is_trained_on(made: Path, tmp_path: Path) -> None:
    further = asked(base=str(made / "shared"), lora=True, max_steps=1, samples=0, lr_schedule="constant")
    assert done(through_the_door(tmp_path, "train", **further)).done["steps"] == 1


def test_a_disk_that_fills_leaves_nothing_of_an_export(made: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "200k") as small:
        ended = through_the_door(made, "export", folder=str(small / "shared"))
        assert (ended.code, list(small.iterdir())) == (1, [])
    assert ended.error["message"].startswith(f"the disk is full: {small / 'shared'} was not written")
