"""Where encoders are looked for: a folder, the hub's cache, the hub; each failure is one sentence with a way out."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.engine.tiny_models import save_clip, save_vae
from support.house.under_load import slowed

from t2v_core import embedded
from t2v_core.errors import InvalidRequest
from t2v_core.models.encoders import load_prompt_encoder, load_vae


def test_a_folder_that_holds_something_else_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "org/name").mkdir(parents=True)
    with pytest.raises(InvalidRequest, match=r"holds no VAE: config\.json is missing"):
        load_vae(str(tmp_path / "org/name"))
    with pytest.raises(InvalidRequest, match="holds no text encoder that can be loaded") as caught:
        load_prompt_encoder(str(embedded.VAE))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("damage", [b"", b"version https://git-lfs.github.com/spec/v1\n"], ids=["empty", "lfs-pointer"])
def test_weights_that_are_damaged_are_refused_in_one_sentence(tmp_path: Path, damage: bytes) -> None:
    folders = (save_vae(tmp_path / "vae"), save_clip(tmp_path / "clip"))
    for folder, load in zip(folders, (load_vae, load_prompt_encoder), strict=True):
        next(folder.glob("*.safetensors")).write_bytes(damage)
        with pytest.raises(InvalidRequest, match="that can be loaded") as caught:
            load(str(folder))
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("source", ["/nowhere/at/all", "./nowhere", "nowhere", "too/many/parts", "bad name/of repo"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(source: str) -> None:
    with pytest.raises(InvalidRequest, match="there is no VAE at") as caught:
        load_vae(source)
    assert "hub id such as owner/name" in caught.value.hint


ASK_THE_HUB = """
import json, sys, time
from pathlib import Path
from t2v_core.errors import InvalidRequest
from t2v_core.models import loading
loading.HUB_TIMEOUT_S = 1
files = ("config.json", "model.safetensors")
for name in sys.argv[1:]:
    began = time.monotonic()
    try:
        answer = [str(loading.find_model(name, embedded=Path(), files=files, what="VAE")), ""]
    except InvalidRequest as error:
        answer = [error.message, error.hint]
    print(json.dumps([*answer, time.monotonic() - began]))
"""


def ask_the_hub(home: Path, hub: socket.socket, *names: str) -> list[tuple[str, str, float]]:
    """What `find_model` says of each name: path or error, hint, seconds.

    In a process of its own, as the hub's library reads its settings once.
    """
    variables = os.environ | {"HF_HOME": str(home), "HF_ENDPOINT": "http://{}:{}".format(*hub.getsockname())}
    variables.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-c", ASK_THE_HUB, *names]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240, check=True)
    return [tuple(json.loads(line)) for line in ended.stdout.splitlines()]


def cached(home: Path, name: str, *files: str) -> Path:
    """A snapshot of org/NAME in the hub's cache, with these files."""
    model = home / f"hub/models--org--{name}"
    snapshot = model / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs/main").write_text("a" * 40)
    for file in files:
        (snapshot / file).write_bytes(b"{}")
    return snapshot


def test_without_a_network_only_what_is_cached_whole_is_used(tmp_path: Path) -> None:
    whole = cached(tmp_path, "whole", "config.json", "model.safetensors")
    older = cached(tmp_path, "older", "config.json", "pytorch_model.bin")
    cached(tmp_path, "broken-off", "config.json")
    with socket.socket() as nobody:  # bound and not listening: connections are refused
        nobody.bind(("127.0.0.1", 0))
        answers = ask_the_hub(tmp_path, nobody, "org/whole", "org/older", "org/broken-off", "org/name")

    assert [answers[0][0], answers[1][0]] == [str(whole), str(older)]
    for name, (message, hint, seconds) in zip(("broken-off", "name"), answers[2:], strict=True):
        assert message == f"the VAE org/{name} is not on this machine and cannot be fetched (the hub cannot be reached)"
        assert "copy the model here and name its folder" in hint
        assert seconds < slowed(15)


def test_a_hub_that_never_answers_is_given_up_soon(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        message, _, seconds = ask_the_hub(tmp_path, silent, "org/name")[0]
    assert "the hub cannot be reached" in message
    assert seconds < slowed(15)
