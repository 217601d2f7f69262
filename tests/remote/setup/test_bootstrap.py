"""A bare host becomes ready for the engine, whatever interrupts it; a ready one costs one question.

Real throughout: OpenSSH's server, the wheel as pip builds it, a virtual environment, pip's install out of a folder.
What stands in: the checkout that is brought asks for one small package instead of torch and its company, so that
nothing is fetched; `python -m venv` copies a pip that is there; the engine that runs there at the end gets its
packages from this machine's environment.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from bench.chaos import ChaosProxy
from bench.sshd import Sshd
from support.hosts.agent_here import agent, wait_until
from support.hosts.bare_host import Bare
from support.hosts.laid_pip import hold, host_python
from support.hosts.small_release import ROOT, SMALL_BYTES, built_once, only_packages_of, small_checkout, write_package
from support.house.needs import needs

from remote.errors import HostUnreachable, NotReady
from remote.hosts.agent_client import Agent, ProcessChannel, agent_argv
from remote.jobs.client import HostJobs
from remote.setup.bootstrap import PIECE_BYTES, Ready, bootstrap, ensure_ready
from remote.setup.release import Release, current_release
from remote.steps import Status, StepState
from remote.workspace_id import identity
from t2v_core.specs import GenerateSpec
from t2v_core.workspace import Workspace

CHANGES = ["release", "venv", "dependencies", "in use"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project as it stands, except that it needs one package only, which lies in a folder."""
    return small_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def release(checkout: Path) -> Release:
    return built_once(checkout)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes first on the PATH of the host."""
    return host_python(tmp_path_factory.mktemp("host") / "python")


@pytest.fixture(autouse=True)
def small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed here is small, and fits where tests have little space."""
    monkeypatch.setattr("remote.setup.bootstrap.INSTALL_BYTES", SMALL_BYTES)


@pytest.fixture
def bare(tmp_path: Path, checkout: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bare]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    sshd = Sshd(tmp_path / "sshd", programs=programs)
    write_package(tmp_path / "packages")
    only_packages_of(tmp_path / "packages", sshd.home)
    (tmp_path / "here").mkdir()
    sshd.start()
    try:
        yield Bare(sshd, Workspace(tmp_path / "here"), checkout)
    finally:
        sshd.kill()


def steps_of(bare: Bare, release: Release, **settings: Any) -> tuple[list[StepState], Ready]:
    told: list[StepState] = []
    host = bare.host(**settings)
    try:
        return told, ensure_ready(host, bare.here, release=release, tell=told.append)
    finally:
        host.close()


def changed(told: list[StepState]) -> list[str]:
    return [state.name for state in told if state.status is Status.DONE]


def assert_ready(bare: Bare, release: Release) -> None:
    """The environment there imports the release and the package that it needs, and nothing half-made is left."""
    code = (
        "import small_thing, importlib.util as u, importlib.metadata as m;"
        "print(small_thing.answer, u.find_spec('t2v_core').origin, m.version('t2v'))"
    )
    said = subprocess.run(
        [bare.there / ".t2v/venv/bin/python", "-I", "-c", code], capture_output=True, text=True, timeout=240, check=True
    )
    answer, origin, _ = said.stdout.split()
    assert (answer, Path(origin).parents[1]) == ("42", bare.there / ".t2v/releases" / release.name)
    assert [one.name for one in (bare.there / ".t2v/releases").iterdir()] == [release.name]
    assert list((bare.there / ".t2v/incoming").iterdir()) == []


def test_a_bare_home_becomes_ready_and_the_second_time_nothing_is_done_in_one_round_trip(
    bare: Bare, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, ready = steps_of(bare, release)
    assert changed(told) == CHANGES
    assert ready == Ready(release.name, has_changed=True)
    assert_ready(bare, release)

    before = {path: path.stat().st_mtime_ns for path in sorted(bare.there.rglob("*"))}
    asked: list[str] = []
    call = Agent.call
    monkeypatch.setattr(Agent, "call", lambda self, name, /, **with_: asked.append(name) or call(self, name, **with_))
    told, ready = steps_of(bare, release)
    assert (changed(told), ready.has_changed, asked) == ([], False, ["standing"])
    assert {path: path.stat().st_mtime_ns for path in sorted(bare.there.rglob("*"))} == before


def test_nothing_is_installed_under_the_jobs_of_another_workspace_without_its_user_s_word(
    bare: Bare, release: Release, tmp_path: Path
) -> None:
    steps_of(bare, release)
    first, bare.here = bare.here, Workspace(tmp_path / "other")
    bare.here.root.mkdir()
    told, ready = steps_of(bare, release)
    assert (changed(told), ready.has_changed) == ([], False)

    newer = replace(release, name="f" * 16)
    told, _ = steps_of(bare, newer)
    (in_use,) = [state for state in told if state.name == "in use"]
    name = identity(first)["name"]
    assert in_use.detail == f"{release.name}, of {name}; jobs of this workspace name {newer.name}"

    needs_more = replace(newer, requirements=(*newer.requirements, "small-thing>0"))
    with pytest.raises(NotReady) as refused:
        steps_of(bare, needs_more)
    assert refused.value.message == f"the environment on vm belongs to {name}, and this t2v needs other packages"
    assert refused.value.hint == "set a workdir of its own in [host.vm], or t2v bootstrap --host vm --replace"

    assert ensure_ready(bare.host(), bare.here, release=needs_more, is_replacing=True).has_changed
    with pytest.raises(NotReady, match=re.escape(identity(bare.here)["name"])):
        ensure_ready(bare.host(), first, release=release)


def test_t2v_killed_after_each_step_converges(bare: Bare, release: Release) -> None:
    """`kill -9` as soon as a step shows, one step further each time."""
    bare.write_settings()
    for step in ("python", "driver", "release"):
        child = bare.t2v("bootstrap", "--host", "vm")
        assert child.stderr is not None
        assert any(line.startswith(step) for line in child.stderr)
        child.kill()
        child.communicate()
    assert bare.standing(release)["releases"] == [release.name]

    child = bare.t2v("--json", "bootstrap", "--host", "vm")
    out, err = child.communicate(timeout=120)

    assert child.returncode == 0, err
    said = json.loads(out)
    assert [step["name"] for step in said["steps"] if step["status"] == "done"] == ["venv", "dependencies", "in use"]
    assert_ready(bare, release)


@pytest.mark.slow
def test_an_install_killed_in_each_of_its_stages_converges(bare: Bare, release: Release, programs: Path) -> None:
    """The job on the host is killed while it makes the venv, then while pip runs; then we are, before the last step."""
    held = hold(programs.parent)
    for stage in ("venv", "dependencies"):
        steps = bootstrap(bare.host(), bare.here, release=release)
        assert any((state.name, state.status) == (stage, Status.DOING) for state in steps)
        with HostJobs(bare.host(), bare.here) as jobs:
            stopped = jobs.stop(jobs.rows()[-1].job, grace_s=0)
        assert (stopped.state, stopped.left) != ("succeeded", ())
        with pytest.raises(NotReady, match=f"{stage} on vm: "):
            list(steps)
        held.unlink(missing_ok=True)
        assert bare.standing(release)["installed"] == {}

    steps = bootstrap(bare.host(), bare.here, release=release)
    assert any((state.name, state.status) == ("dependencies", Status.DONE) for state in steps)
    steps.close()
    assert bare.standing(release)["in_use"] is None

    assert changed(steps_of(bare, release)[0]) == ["in use"]
    assert_ready(bare, release)


def test_an_install_goes_on_while_its_starter_is_gone_and_the_next_one_joins_it(
    bare: Bare, release: Release, programs: Path
) -> None:
    held, host = hold(programs.parent), bare.host()
    steps = bootstrap(host, bare.here, release=release)
    assert any(state.name == "venv" for state in steps)
    steps.close()
    host.close()

    told: list[StepState] = []

    def tell(state: StepState) -> None:
        told.append(state)
        if (state.name, state.status) == ("venv", Status.DOING):  # it follows the job of the first
            held.unlink(missing_ok=True)

    host = bare.host()
    ensure_ready(host, bare.here, release=release, tell=tell)
    host.close()

    with HostJobs(bare.host(), bare.here) as jobs:
        assert [row.state for row in jobs.rows()] == ["succeeded"]
    assert {"release", "python"} & set(changed(told)) == set()
    assert_ready(bare, release)


def test_an_upload_that_broke_off_goes_on_where_it_was(bare: Bare, release: Release) -> None:
    with ChaosProxy(("127.0.0.1", bare.sshd.port)) as proxy:
        host = bare.host(proxy.port)
        steps = bootstrap(host, bare.here, release=release)
        assert any(state.detail.startswith("sent") for state in steps)
        proxy.cut()
        with pytest.raises(HostUnreachable):
            list(steps)
        host.close()
    [part] = (bare.there / ".t2v/incoming").iterdir()
    came = part.stat().st_size
    assert 0 < came < len(release.bundle())

    steps = bootstrap(bare.host(), bare.here, release=release)
    first = next(state.detail for state in steps if state.detail.startswith("sent"))

    assert float(first.split()[1]) * 1e6 == pytest.approx(came + PIECE_BYTES, abs=60_000)
    assert any((state.name, state.status) == ("release", Status.DONE) for state in steps)
    steps.close()


def test_what_a_killed_unpacking_left_goes_with_the_next(tmp_path: Path, release: Release) -> None:
    data = release.bundle()
    asked = {"workspace": str(tmp_path), "sha256": hashlib.sha256(data).hexdigest()}
    left, abandoned = tmp_path / f".t2v/releases/.partial-{release.name}", tmp_path / ".t2v/incoming/abandoned"
    for path in (left / "half", abandoned):
        path.parent.mkdir(parents=True)
        path.write_text("x")
    os.utime(abandoned, (0, 0))
    with agent() as one:
        one.call("put", **asked, data=base64.b64encode(data).decode())
        one.call("unpack_release", **asked, release=release.name)
    assert [one.name for one in (tmp_path / ".t2v/releases").iterdir()] == [release.name]
    assert not list((tmp_path / ".t2v/incoming").iterdir())


def test_too_small_a_disk_is_one_sentence_and_nothing_is_written(bare: Bare, release: Release) -> None:
    steps = bootstrap(bare.host(), bare.here, release=release, install_bytes=9 * 10**18)
    assert [next(steps).status, next(steps).status] == [Status.OK, Status.FAILED]
    with pytest.raises(NotReady, match=r"vm has [\d.]+ [GT]B free in .*/text2video, and 9.0 EB is needed"):
        next(steps)
    assert not bare.there.exists()


@dataclass
class OldHost:
    """A host whose only Python is 3.9."""

    python: str
    workdir: str
    name: str = "old"

    @property
    def engine_python(self) -> str:
        return f"{self.workdir}/.t2v/venv/bin/python"

    def open(self, arguments: list[str]) -> ProcessChannel:
        return ProcessChannel(agent_argv(arguments, self.python), env={"PATH": "/nonexistent"})

    def close(self) -> None:
        """Nothing is held."""


def test_no_python_for_the_engine_is_one_sentence(tmp_path: Path, release: Release) -> None:
    host = OldHost(needs("python3.9"), str(tmp_path / "there"))
    with pytest.raises(NotReady) as caught:
        ensure_ready(host, Workspace(tmp_path), release=release)
    assert re.fullmatch(r"the newest Python on old is 3\.9\.\d+; the engine needs 3\.11 or newer", caught.value.message)
    assert caught.value.hint == "there: sudo apt install python3.11 python3.11-venv"


def test_a_python_of_the_users_own_is_looked_at_and_never_changed(bare: Bare, release: Release) -> None:
    own = bare.sshd.home / "own"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", own], check=True, timeout=240)
    before = sorted(own.rglob("*"))
    with pytest.raises(NotReady, match="has no torch, diffusers, transformers") as caught:
        steps_of(bare, release, python=str(own / "bin/python"))
    assert caught.value.hint.startswith(f"there: {own}/bin/python -m pip install -r {bare.there}/.t2v/releases/")
    assert sorted(own.rglob("*")) == before


def test_what_pip_says_is_the_sentence(bare: Bare, release: Release) -> None:
    (bare.sshd.home / ".config/pip/pip.conf").write_text("[global]\nno-index = true\n")
    with pytest.raises(
        NotReady, match="dependencies on vm: pip cannot install what the engine needs: Cannot install small-thing"
    ):
        steps_of(bare, release)


def test_a_release_has_the_same_bytes_each_time_and_another_name_when_a_file_changes(
    release: Release, checkout: Path, tmp_path: Path
) -> None:
    assert release.bundle() == current_release(checkout).bundle()
    other = shutil.copytree(checkout, tmp_path / "other")
    with (other / "remote/agent/jobs/requests.py").open("a") as file:
        file.write("# new\n")
    changed_ = current_release(other)
    assert changed_.name != release.name
    assert changed_.requirements_sha256 == release.requirements_sha256


def test_an_installed_t2v_brings_itself(release: Release, tmp_path: Path) -> None:
    """Without a checkout the release is made of what the wheel brought, pins included."""
    with zipfile.ZipFile(io.BytesIO(release.bundle())) as file:
        file.extractall(tmp_path)
        brought = {name for name in file.namelist() if name.startswith(("t2v_core/", "remote/", "t2v_tui/"))}
    code = (
        "from remote.setup.release import current_release as c; r = c(); import sys, json, io, zipfile;"
        "print(json.dumps([r.requirements, r.constraints, zipfile.ZipFile(io.BytesIO(r.bundle())).namelist()]))"
    )
    said = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    requirements, constraints, names = json.loads(said.stdout)
    assert (set(requirements), constraints) == (set(release.requirements), release.constraints)
    assert brought < set(names)
    assert {"requirements.txt", "constraints.txt", "t2v-0.1.0.dist-info/METADATA"} <= set(names)


def test_what_the_page_needs_besides_goes_along_for_the_first_page_that_runs_there(release: Release) -> None:
    names = {re.split(r"[<>=\[ ]", line)[0].lower() for line in release.web}
    assert names == {"fastapi", "gradio", "uvicorn"}
    pinned = {line.split("==")[0].lower() for line in current_release(ROOT).constraints.splitlines() if "==" in line}
    assert names <= pinned
    with zipfile.ZipFile(io.BytesIO(release.bundle())) as bundle:
        assert bundle.read("requirements-web.txt").decode().splitlines() == list(release.web)


@pytest.mark.slow
def test_the_real_engine_runs_there_from_the_release(bare: Bare, release: Release) -> None:
    """Its packages come from this machine's environment, by a line in the environment there."""
    ready = steps_of(bare, release)[1]
    [site] = bare.there.glob(".t2v/venv/lib/python*/site-packages")
    (site / "stands-in.pth").write_text(sysconfig.get_path("purelib") + "\n")
    spec = GenerateSpec(
        prompt="a red circle moves left", checkpoint="embedded", steps=2, frames=2, device="cpu", output="outputs/a.mp4"
    )
    with HostJobs(bare.host(), bare.here) as jobs:
        job = jobs.submit("generate", spec, env={"HF_HUB_OFFLINE": "1"}).job
        wait_until((bare.there / "jobs" / job / "exit.json").exists)
        row = jobs.row(job)
    assert (row.state, row.reason) == ("succeeded", "done")
    assert (bare.there / "outputs/a.mp4").stat().st_size > 0
    assert ready.release == release.name


@pytest.mark.slow
def test_the_first_job_makes_a_bare_host_ready_by_itself_and_the_second_need_not(bare: Bare) -> None:
    bare.write_settings()
    for is_first in (True, False):
        child = bare.t2v("add-noise", "in.mp4", "out.mp4", "--host", "vm", "--detach")
        out, err = child.communicate(timeout=200)
        assert child.returncode == 0, err
        assert ("making vm ready" in err) is is_first
        assert (bare.there / "jobs" / out.strip() / "spec.json").exists()
