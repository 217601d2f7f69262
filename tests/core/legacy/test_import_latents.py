"""The previous system's folders become a store that trains: nothing is unpickled, nothing mixed up, nothing lost."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.tiny_models import save_clip, save_vae
from support.engine.training_set import data_set
from support.engine.warm_engine import begin, run_warm
from support.hosts.door import EndedHere, through_the_door

from t2v_core.data.annotations.msrvtt import Split
from t2v_core.data.legacy.import_text import padded_null_prompt
from t2v_core.data.store.batches import drop_captions, load_batch
from t2v_core.data.store.latents import LatentStore
from t2v_core.models.encoders import load_prompt_encoder
from t2v_core.workspace import Dataset

CLIPS, TEST_CLIPS = 8, 2
LATENTS, TEXT = (16, 4, 32, 32), (1, 77, 512)


def captions(number: int) -> list[str]:
    return [f"clip {number}", f"a longer caption of number {number}"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with encoders and the old folders: real shapes, text as the previous system encoded it."""
    root = tmp_path_factory.mktemp("old")
    save_vae(root / "vae")
    save_clip(root / "clip", max_length=77, width=512)
    encoder = load_prompt_encoder(str(root / "clip"))
    for folder in ("latents", "text_embeddings"):
        (root / "old" / folder).mkdir(parents=True)
    for number in range(CLIPS + TEST_CLIPS):
        generator = torch.Generator().manual_seed(number)
        torch.save(torch.randn(LATENTS, generator=generator), root / f"old/latents/video{number}.pt")
        ids = encoder.tokenizer(captions(number)[0], padding="max_length", max_length=77, return_tensors="pt")
        with torch.no_grad():
            hidden = encoder.model(input_ids=ids["input_ids"]).last_hidden_state
        torch.save(hidden.clone(), root / f"old/text_embeddings/video{number}.pt")
    return root


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Path:
    """A copy of it to break, with annotations in the data set."""
    root = Path(shutil.copytree(made, tmp_path / "workspace"))
    annotate(root / "data", "train_9k.json", range(CLIPS))
    annotate(root / "data", "test_1k.json", range(CLIPS, CLIPS + TEST_CLIPS))
    return root


def annotate(data: Path, name: str, numbers: range) -> None:
    (data / "annotations").mkdir(parents=True, exist_ok=True)
    rows = [{"video_id": f"video{number}", "caption": captions(number)} for number in numbers]
    (data / "annotations" / name).write_text(json.dumps(rows))


SPEC: dict[str, Any] = {
    "old_dir": "old", "data": "data", "vae": "./vae", "text_encoder": "./clip", "shard_clips": 3, "device": "cpu",
}  # fmt: skip


def imported(root: Path, **values: Any) -> EndedHere:
    return through_the_door(root, "import-latents", **(SPEC | values))


def open_store(root: Path, split: Split = "train") -> LatentStore:
    return LatentStore.open(Dataset(root / "data"), split)


def old_latents(root: Path, number: int) -> torch.Tensor:
    return torch.load(root / f"old/latents/video{number}.pt", weights_only=True)


def quarantine(root: Path) -> dict[str, str]:
    with (root / "data/quarantine.csv").open() as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def store_files(root: Path) -> dict[str, bytes]:
    files = (p for folder in ("latents", "text_embeddings") for p in sorted((root / "data" / folder).rglob("*.*")))
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.is_file()}


def test_latents_come_over_as_they_are_and_every_caption_is_encoded(workspace: Path) -> None:
    ended = imported(workspace)
    assert ended.code == 0, ended.log
    done = ended.done
    assert (done["clips"], done["captions"], done["quarantined"], done["skipped"]) == (10, 20, 0, 0)
    assert ended.warnings == ""
    store = open_store(workspace)
    assert (store.shape, store.video_ids) == (LATENTS, [f"video{number}" for number in range(CLIPS)])
    assert open_store(workspace, "test").video_ids == ["video8", "video9"]
    for index in (0, 3, 7):
        assert torch.equal(store.latents([index])[0], old_latents(workspace, index).half().float())
    encoder = load_prompt_encoder(str(workspace / "clip"))
    assert store.texts(5) == captions(5)
    for embedding, caption in zip(store.captions(5), captions(5), strict=True):
        alone = encoder.encode([caption])[0]
        assert torch.allclose(embedding.tokens, alone.tokens, atol=5e-3)
        assert torch.allclose(embedding.pooled, alone.pooled, atol=5e-3)
    assert torch.allclose(store.null_prompt.tokens, encoder.encode([""])[0].tokens, atol=5e-3)


def test_the_manifest_says_where_they_came_from_and_what_decodes_them(workspace: Path) -> None:
    imported(workspace, fps=12.0)
    manifest = open_store(workspace).manifest
    assert manifest["provenance"] == manifest["settings"]["origin"] == "imported from .pt files"
    assert manifest["encoder"]["source"] == "./vae"
    assert manifest["encoder"]["sha256"] == manifest["settings"]["vae"]
    assert manifest["statistics"] == {"scaling_factor": 0.18215, "mean": [0.0] * 4, "std": [1.0] * 4}
    assert (manifest["is_scaled"], manifest["shape"], manifest["fps"]) == (True, list(LATENTS), 12.0)


def test_fp32_keeps_every_bit(workspace: Path) -> None:
    imported(workspace, dtype="fp32")
    assert torch.equal(open_store(workspace).latents([2])[0], old_latents(workspace, 2))


@pytest.mark.slow
def test_a_model_trains_on_what_was_imported(workspace: Path) -> None:
    imported(workspace)
    ended = run_warm(
        workspace, "train", preset="tiny", data="data", batch_size=1, gradient_accumulation=1, max_steps=2, samples=0,
        held_out_clips=0, device="cpu",
    )  # fmt: skip
    assert ended.code == 0, ended.events
    assert [event["step"] for event in ended.of("step")][-1] == 2


class Intruder:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_files_that_are_not_what_they_should_be_are_set_aside_and_nothing_in_them_is_run(workspace: Path) -> None:
    latents = workspace / "old/latents"
    trace = workspace / "it-ran"
    good = (latents / "video0.pt").read_bytes()
    (latents / "video0.pt").write_bytes(b"")
    (latents / "video1.pt").write_bytes(good[: len(good) // 2])
    (latents / "video2.pt").write_bytes(pickle.dumps(Intruder(trace)))
    torch.save({"latents": torch.zeros(LATENTS)}, latents / "video3.pt")
    torch.save(torch.zeros(8, 4, 32, 32), latents / "video4.pt")
    torch.save(torch.full(LATENTS, float("nan")), latents / "video5.pt")
    torch.save(torch.zeros(LATENTS, dtype=torch.int32), latents / "video8.pt")
    flipped = (latents / "video9.pt").read_bytes()
    (latents / "video9.pt").write_bytes(flipped[:100_000] + bytes([flipped[100_000] ^ 1]) + flipped[100_001:])
    ended = imported(workspace)
    assert ended.code == 0, ended.log
    assert quarantine(workspace) == {
        "video0": "empty-file", "video1": "not-a-tensor-file", "video2": "not-a-tensor-file", "video3": "wrong-type",
        "video4": "wrong-shape", "video5": "non-finite-values", "video8": "wrong-type", "video9": "damaged",
    }  # fmt: skip
    assert not trace.exists()
    assert (ended.done["clips"], ended.done["quarantined"]) == (2, 8)
    assert "video4 is left out: video4.pt is 8×4×32×32 instead of 16×4×32×32 (wrong-shape)" in ended.warnings
    assert open_store(workspace).video_ids == ["video6", "video7"]
    assert torch.equal(open_store(workspace).latents([1])[0], old_latents(workspace, 7).half().float())


def test_a_bad_file_is_tried_again_only_when_it_changes(workspace: Path) -> None:
    path = workspace / "old/latents/video4.pt"
    good = path.read_bytes()
    path.write_bytes(b"torn")
    imported(workspace)
    again = imported(workspace)
    path.write_bytes(good)
    third = imported(workspace)
    assert (again.warnings, third.warnings) == ("", "")
    assert (again.done["skipped"], third.done["skipped"], third.done["clips"]) == (9, 9, 10)
    assert quarantine(workspace) == {}


def test_nothing_usable_is_failed_work_with_the_first_reason(workspace: Path) -> None:
    for path in (workspace / "old/latents").glob("*.pt"):
        path.write_bytes(b"")
    ended = imported(workspace)
    assert ended.code == 1
    assert ended.error["message"] == "none of 10 files can be used; video0: video0.pt has no bytes"


@pytest.mark.parametrize(("factor", "said"), [(1 / 0.18215, "they are not scaled"), (0.18215, "they are scaled twice")])
def test_latents_of_another_scale_are_refused(workspace: Path, factor: float, said: str) -> None:
    for number in range(CLIPS):
        torch.save(old_latents(workspace, number) * factor, workspace / f"old/latents/video{number}.pt")
    assert said in imported(workspace).sentence
    assert not list((workspace / "data/latents").rglob("shard-*"))


def test_clips_that_no_annotation_lists_are_left_out_since_they_may_be_test_clips(workspace: Path) -> None:
    (workspace / "data/annotations/test_1k.json").unlink()
    (workspace / "old/latents/video3.pt").unlink()
    ended = imported(workspace)
    assert ended.warnings.splitlines() == [
        "1 clips of train have no latents (video3)",
        "2 latents are left out: no annotation lists them (video8, video9)",
    ]
    assert ended.done["clips"] == CLIPS - 1


def test_training_clips_that_are_test_clips_are_refused_here_too(workspace: Path) -> None:
    annotate(workspace / "data", "test_1k.json", range(6, 10))
    assert "2 of 8 training clips" in imported(workspace).sentence
    ended = imported(workspace, on_overlap="drop-from-train")
    assert (len(open_store(workspace)), len(open_store(workspace, "test"))) == (6, 4)
    assert ended.done["clips"] == 10


def test_annotations_beside_the_old_folders_do_and_old_and_new_may_be_one_folder(workspace: Path) -> None:
    (workspace / "data/annotations").rename(workspace / "old/annotations")
    assert imported(workspace).done["captions"] == 20
    before = {path: path.read_bytes() for path in (workspace / "old").rglob("*.pt")}
    assert imported(workspace, data="old").done["clips"] == 10
    assert LatentStore.open(Dataset(workspace / "old"), "train").video_ids == open_store(workspace).video_ids
    assert {path: path.read_bytes() for path in before} == before


def test_captions_that_are_not_the_old_text_are_reported(workspace: Path) -> None:
    texts = workspace / "old/text_embeddings"
    shutil.copyfile(texts / "video1.pt", texts / "video5.pt")
    ended = imported(workspace)
    assert ended.warnings.startswith(
        "the old text of 1 of 8 clips of train is not that of their first caption (video5)"
    )
    assert ended.done["clips"] == 10


# --- without annotations ---


@pytest.fixture
def bare(workspace: Path) -> Path:
    shutil.rmtree(workspace / "data")
    return workspace


def test_without_annotations_the_old_text_is_taken_padded_with_a_null_prompt_padded_alike(bare: Path) -> None:
    ended = imported(bare)
    assert ended.code == 0, ended.log
    assert ended.warnings.startswith("there are no annotations: all 10 clips go to train")
    store = open_store(bare)
    assert store.video_ids == [f"video{number}" for number in range(10)]
    old = torch.load(bare / "old/text_embeddings/video6.pt", weights_only=True)[0]
    [embedding] = store.captions(6)
    assert torch.equal(embedding.tokens, old.half().float())
    assert embedding.pooled.numel() == 0
    null = padded_null_prompt(load_prompt_encoder(str(bare / "clip"))).tokens
    assert torch.allclose(store.null_prompt.tokens, null, atol=5e-3)
    assert (store.text_manifest["padded_to"], store.text_manifest["pooled_dim"]) == (77, 0)
    batch = load_batch(store, [0, 6], seed=0, epoch=0)
    dropped = drop_captions(batch.prompts, store.null_prompt, torch.tensor([True, False]))
    assert batch.latents.shape == (2, *LATENTS)
    assert batch.prompts.tokens.shape == (2, 77, 512)
    assert batch.prompts.mask.all()
    assert torch.equal(dropped.tokens[0], store.null_prompt.tokens)


def test_a_preset_that_needs_the_pooled_embedding_says_so(bare: Path) -> None:
    imported(bare)
    ended = through_the_door(bare, "train", preset="tiny", data="data", max_steps=1, device="cpu")
    assert ended.code == 2
    assert "has no pooled embedding, which the tiny preset needs" in ended.error["message"]
    assert "--preset seed" in ended.error["hint"]


def test_annotations_that_come_later_bring_their_captions(bare: Path) -> None:
    imported(bare)
    annotate(bare / "data", "train_9k.json", range(10))
    ended = imported(bare)
    assert (ended.done["skipped"], ended.done["captions"]) == (10, 20)
    assert open_store(bare).texts(4) == captions(4)


def test_old_text_that_is_bad_leaves_its_clip_out(bare: Path) -> None:
    (bare / "old/text_embeddings/video2.pt").unlink()
    torch.save(torch.zeros(1, 77, 768), bare / "old/text_embeddings/video4.pt")
    imported(bare)
    assert quarantine(bare) == {"video2": "missing-file", "video4": "wrong-shape"}
    assert len(open_store(bare)) == 8
    again = imported(bare)
    assert (again.done["clips"], again.done["quarantined"]) == (8, 2)
    assert "left out" not in again.warnings


def test_text_of_another_encoder_is_refused(bare: Path) -> None:
    save_clip(bare / "clip", max_length=77, width=512, seed=1)
    assert "does not come from the text encoder ./clip: its start token is another vector" in imported(bare).sentence


# --- what is refused ---

REFUSED = {
    "a folder that is not there": ({"old_dir": "nowhere"}, "nowhere/latents holds no .pt files"),
    "a VAE that normalises otherwise": ({"vae": "embedded"}, "cannot have made the old latents"),
    "a text encoder that is not there": ({"text_encoder": "./nowhere"}, "there is no text encoder at ./nowhere"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_a_sentence_and_a_hint_before_any_work(workspace: Path, name: str) -> None:
    values, expected = REFUSED[name]
    ended = imported(workspace, **values)
    assert expected in ended.sentence
    assert ended.error["hint"]
    assert not (workspace / "data/latents").exists()


def test_what_preprocess_made_is_not_written_over(workspace: Path) -> None:
    shutil.copytree(data_set() / "latents", workspace / "data/latents")
    before = store_files(workspace)
    assert "holds what t2v preprocess made, and an import would remove it" in imported(workspace).sentence
    assert store_files(workspace) == before


# --- interruptions ---


@pytest.mark.slow
def test_killed_and_stopped_it_ends_up_the_same_byte_for_byte(workspace: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(workspace, tmp_path / "whole"))
    imported(whole)
    child = begin(workspace, "import-latents", **SPEC)
    child.wait_for(lambda event: event["kind"] == "progress" and event["unit"] == "clips")
    child.signal(signal.SIGKILL)
    child.end()
    assert not (workspace / "data/text_embeddings/train/manifest.json").exists()
    child = begin(workspace, "import-latents", **SPEC)
    child.wait_for(lambda event: event.get("name") == "encoders")
    (child.directory / "stop").touch()
    assert child.end().code == 4
    ended = imported(workspace)
    assert ended.code == 0
    assert store_files(workspace) == store_files(whole)


def test_a_second_import_changes_nothing(workspace: Path) -> None:
    imported(workspace)
    before = {path: path.stat().st_mtime_ns for path in (workspace / "data").rglob("*.*") if path.suffix != ".lock"}
    assert imported(workspace).done["skipped"] == 10
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_bad_latents_stay_noted_though_their_old_text_is_good(bare: Path) -> None:
    (bare / "old/latents/video4.pt").write_bytes(b"torn")
    imported(bare)
    assert quarantine(bare) == {"video4": "not-a-tensor-file"}
    assert "left out" not in imported(bare).warnings
