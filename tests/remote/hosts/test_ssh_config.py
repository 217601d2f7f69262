"""`~/.ssh/config` as OpenSSH reads it: where `ssh HOST` gets in, t2v gets to the same server, and by the same way.

Real servers on loopback, the real ssh beside us, one configuration for both.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.sshd import make_key
from support.hosts.agent_here import agent_of_the_test
from support.hosts.ssh_world import WHERE, World, add_key, make_key_with, ssh_agent, ssh_world

from remote.errors import AuthFailed, HostKeyUnknown, HostUnreachable, SshConfigWrong
from remote.hosts import openssh
from remote.hosts.openssh import client_config


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ssh_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def world(servers: World, tmp_path: Path) -> Iterator[World]:
    with agent_of_the_test(tmp_path, WHERE):
        yield servers


# Each with the server that `ssh gpu` gets to; A, B, C are ports, GOOD and STRANGER keys, D the folder.
CONFIGS = {
    "a plain host": "Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n",
    "include": "Include D/included-*\nHost *\n IdentityFile GOOD\n",
    "include within a host": "Host gpu\n Include D/included-plain\n IdentityFile GOOD\n",
    "match host of another host": (
        "Match host other\n HostName 127.0.0.9\n Port C\nHost gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n"
    ),
    "match originalhost and exec": (
        "Match originalhost gpu exec \"test 1 = 1\"\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n"
        "Match originalhost gpu exec \"false\"\n Port A\n"
    ),
    "the first value counts": (
        "Host g*\n Port B\nHost gpu\n Port A\n HostName 127.0.0.1\nHost *\n IdentityFile GOOD\n"
    ),
    "a negated pattern": (
        "Host * !gpu\n Port A\nHost gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n"
    ),
    "the first identity is missing": (
        "Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile D/missing\n IdentityFile GOOD\n"
    ),
    "the first identity is a stranger's": (
        "Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile STRANGER\n IdentityFile GOOD\n IdentitiesOnly yes\n"
    ),
    "tokens in an identity": "Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile D/of-%n-%h-%p\n",
    "a comment behind a value": "Host gpu # mine\n HostName 127.0.0.1 # near\n Port B # odd\n IdentityFile GOOD\n",
    "equals signs and quotes": 'Host="gpu"\n HostName = "127.0.0.1"\n Port=B\n IdentityFile="GOOD"\n',
    "a jump": (
        "Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n ProxyJump USER@127.0.0.1:A\n"
        "Host 127.0.0.1\n IdentityFile GOOD\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n"
    ),
    "a chain of jumps": (
        "Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n ProxyJump USER@first,127.0.0.1:C\n"
        "Host first\n HostName 127.0.0.1\n Port A\n"
        "Host first 127.0.0.1\n IdentityFile GOOD\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n"
    ),
    "a program": "Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n ProxyCommand RELAY %h %p\n",
    "a program with shell words": (
        "Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n"
        " ProxyCommand sh -c 'test %n = gpu && exec RELAY \"$0\" $1' '%h' %p\n"
    ),
    "no program after all": (
        "Host gpu\n ProxyCommand none\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\nHost *\n ProxyCommand false\n"
    ),
    "an address family": "Host gpu\n HostName localhost\n AddressFamily inet\n Port B\n IdentityFile GOOD\n",
}  # fmt: skip


def filled(text: str, world: World) -> str:
    words = dict(zip("ABC", map(str, world.ports), strict=True))
    words |= {"GOOD": str(world.good), "STRANGER": str(world.stranger), "D": str(world.folder)}
    words |= {"USER": world.servers[0].user, "RELAY": world.relay}
    for name in sorted(words, key=len, reverse=True):
        text = _replaced(text, name, words[name])
    return text


def _replaced(text: str, name: str, value: str) -> str:
    import re

    return re.sub(rf"\b{name}\b", lambda _: value, text)


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_we_get_where_ssh_gets(world: World, text: str) -> None:
    port = world.ports[1]
    world.write(f"Host gpu\n HostName 127.0.0.1\n Port {port}\n", name="included-plain")
    shutil.copy(world.good, world.folder / f"of-gpu-127.0.0.1-{port}")
    world.write(filled(text, world))
    assert world.openssh("gpu") == str(world.servers[1].home)
    assert world.ours("gpu") == str(world.servers[1].home)


def test_a_comment_in_latin_1_is_no_trouble(world: World) -> None:
    text = filled("# Büro\nHost gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n", world)
    world.write(text, encoding="latin-1")
    assert world.ours("gpu") == world.openssh("gpu") == str(world.servers[1].home)


def test_what_t2v_toml_says_goes_before(world: World) -> None:
    world.write(filled("Host gpu\n HostName 127.0.0.1\n Port A\n IdentityFile STRANGER\n ProxyCommand false\n", world))
    settings = {"port": world.ports[2], "identity": world.good, "proxy_command": f"{world.relay} %h %p"}
    assert world.ours("gpu", **settings) == str(world.servers[2].home)
    settings["proxy_command"] = "none"
    assert world.ours("gpu", **settings) == str(world.servers[2].home)
    assert world.ours("gpu") == ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_generated_configurations_lead_to_the_same_server(world: World, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(6):
        text, names = generated(dice, world)
        world.write(text)
        for name in names:
            assert world.ours(name) == world.openssh(name), f"{name} in:\n{text}"


def generated(dice: random.Random, world: World) -> tuple[str, list[str]]:
    """A configuration whose parts overlap, contradict and include one another."""
    names = ["alpha", "beta-1"]

    def option() -> str:
        kind, value = dice.choice([
            ("Port", str(dice.choice(world.ports))),
            ("HostName", dice.choice(["127.0.0.1", "localhost"])),
            ("IdentityFile", str(dice.choice([world.good, world.stranger, world.folder / "missing"]))),
            ("IdentitiesOnly", dice.choice(["yes", "no"])),
            ("ProxyCommand", dice.choice(["none", f"{world.relay} %h %p"])),
            ("AddressFamily", "inet"),
        ])  # fmt: skip
        word = dice.choice([kind, kind.lower(), kind.upper()])
        end = dice.choice(["", " # why", "  "]) if kind != "ProxyCommand" else ""
        return f"{dice.choice(['', ' ', chr(9)])}{word}{dice.choice([' ', '=', ' = '])}{value}{end}\n"

    def block() -> str:
        head = dice.choice([
            f"Host {dice.choice(names)}", f"Host {names[0]} {names[1]}", "Host *", "Host ?lpha", "Host * !beta-*",
            "Match host 127.0.0.1", f"Match originalhost {dice.choice(names)}", "Match all",
            "Match exec \"test %n = alpha\"", "Match !exec \"true\"", "Match user nobody",
        ])  # fmt: skip
        return f"{dice.choice(['', '# a part', ''])}\n{head}\n" + "".join(option() for _ in range(dice.randint(1, 3)))

    world.write("".join(block() for _ in range(2)), name="part")
    parts = [block() for _ in range(dice.randint(2, 5))]
    parts.insert(dice.randint(0, len(parts)), f"Include {world.folder}/part\n")
    last = f"Host *\nHostName 127.0.0.1\nPort {world.ports[0]}\nIdentityFile {world.good}\nAddressFamily inet\n"
    return "".join(parts) + last, names


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("true", "true cannot reach .*: it ended with code 0 and no word"),
        ("sh -c 'exit 7'", "sh cannot reach .*: it ended with code 7 and no word"),
        ("sh -c 'echo no way in >&2; exit 7'", "sh cannot reach .*: no way in"),
        (
            "/no/such/program %h",
            "/no/such/program cannot reach .*: No such file|/no/such/program cannot reach .* not found",
        ),
        ("sh -c 'echo Welcome; sleep 0.1'", "it said: Welcome, by way of sh"),
        ("sleep 600", "no SSH banner came, by way of sleep"),
    ],
)
def test_a_program_that_does_not_lead_there_is_named_with_what_it_did(
    world: World, monkeypatch: pytest.MonkeyPatch, program: str, sentence: str
) -> None:
    monkeypatch.setattr("remote.hosts.ssh_connection.BANNER_TIMEOUT_S", 2.0)
    world.write(filled(f"Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n ProxyCommand {program}\n", world))
    with pytest.raises(HostUnreachable, match=sentence) as caught:
        world.host("gpu").open(["serve"])
    assert caught.value.hint.startswith("by hand: ")


def test_an_address_that_this_machine_does_not_have_is_named(world: World) -> None:
    world.write(filled("Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n BindAddress 203.0.113.9\n", world))
    with pytest.raises(HostUnreachable, match=r"does not have the address 203\.0\.113\.9") as caught:
        world.host("gpu").open(["serve"])
    assert "BindAddress" in caught.value.hint


# Keys


def test_keys_that_the_file_rules_out_are_not_said_to_be_missing(world: World) -> None:
    text = "Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n PubkeyAuthentication no\n"
    world.write(filled(text, world))
    with pytest.raises(AuthFailed, match="PubkeyAuthentication no rules out keys"):
        world.host("gpu").open(["serve"])


def test_an_agent_of_its_own_and_a_key_with_a_passphrase(world: World, tmp_path: Path) -> None:
    """The file names which of the agent's keys it is; without the agent the passphrase is what is said."""
    key = tmp_path / "locked"
    make_key_with(key, "secret")
    accept(world, key)
    with ssh_agent(tmp_path) as socket:
        add_key(socket, key, "secret")
        text = f"Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile {key}\n IdentitiesOnly yes\n"
        world.write(filled(text, world) + f" IdentityAgent {socket}\n")
        key.with_name("locked.pub").unlink()
        assert world.ours("gpu") == str(world.servers[1].home)
    world.write(filled(text, world))
    with pytest.raises(AuthFailed, match="has a passphrase") as caught:
        world.host("gpu").open(["serve"])
    assert caught.value.hint == f"ssh-add {key}"


def accept(world: World, key: Path, options: str = "") -> None:
    for server in world.servers:
        with (server.folder / "authorized_keys").open("a") as file:
            file.write(f"{options}{key.with_name(key.name + '.pub').read_text()}")


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
@pytest.mark.parametrize("is_held_by_agent", [False, True])
def test_a_certificate_lets_us_in(world: World, tmp_path: Path, kind: str, *, is_held_by_agent: bool) -> None:
    make_key(tmp_path / "authority")
    accept(world, tmp_path / "authority", "cert-authority ")
    key = tmp_path / "mine"
    make_key_with(key, kind=kind)
    sign = ["ssh-keygen", "-q", "-s", str(tmp_path / "authority"), "-I", "me", "-n", world.servers[0].user, str(key)]
    subprocess.run([*sign[:-1], f"{key}.pub"], check=True, timeout=20)
    certificate = (tmp_path / "mine-cert.pub").rename(tmp_path / "elsewhere")
    text = f"Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile {key}\n CertificateFile {certificate}\n"
    world.write(filled(text, world))
    if not is_held_by_agent:
        assert world.ours("gpu") == world.openssh("gpu") == str(world.servers[1].home)
        return
    with ssh_agent(tmp_path) as socket:
        add_key(socket, key)
        key.unlink()
        world.write(filled(text, world) + f" IdentityAgent {socket}\n")
        assert world.ours("gpu") == world.openssh("gpu") == str(world.servers[1].home)


def test_many_keys_of_an_agent_are_named_with_the_way_out(world: World, tmp_path: Path) -> None:
    with ssh_agent(tmp_path) as socket:
        for number in range(7):
            make_key(tmp_path / f"key{number}")
            add_key(socket, tmp_path / f"key{number}")
        text = f"Host gpu\n HostName 127.0.0.1\n Port B\n IdentityAgent {socket}\n"
        world.write(filled(text, world))
        with pytest.raises(AuthFailed, match=r"Too many authentication failures.* after \d keys: key0") as caught:
            world.host("gpu").open(["serve"])
        assert "identity =" in caught.value.hint
        assert world.ours("gpu", identity=world.good) == str(world.servers[1].home)
        world.write(filled(f"{text} IdentityFile GOOD\n IdentitiesOnly yes\n", world))
        assert world.ours("gpu") == str(world.servers[1].home)


def test_a_key_that_cannot_be_read_does_not_hide_the_next(world: World, tmp_path: Path) -> None:
    broken, folder = tmp_path / "broken", tmp_path / "folder"
    broken.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    folder.mkdir()
    names = "".join(f" IdentityFile {path}\n" for path in (broken, folder, tmp_path / "none"))
    world.write(filled(f"Host gpu\n HostName 127.0.0.1\n Port B\n{names} IdentityFile GOOD\n", world))
    assert world.ours("gpu") == str(world.servers[1].home)
    world.write(filled(f"Host gpu\n HostName 127.0.0.1\n Port B\n{names}", world))
    with pytest.raises(AuthFailed, match="there was no key to offer") as caught:
        world.host("gpu").open(["serve"])
    assert f"{tmp_path / 'none'} is not there" in caught.value.message


# Whose word about a key counts


@pytest.mark.parametrize(("checking", "is_taken"), [("ask", True), ("yes", True), ("no", False), ("accept-new", False)])
@pytest.mark.parametrize("is_hashed", [False, True])
def test_a_key_that_somebody_compared_for_openssh_counts(
    world: World, tmp_path: Path, checking: str, *, is_taken: bool, is_hashed: bool
) -> None:
    known = tmp_path / "openssh_known_hosts"
    known.write_text(f"# mine\n[127.0.0.1]:{world.ports[1]} {world.servers[1].public_host_key}\n")
    if is_hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, timeout=20, capture_output=True)
    text = f"Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n UserKnownHostsFile {known}\n"
    world.write(filled(f"{text} StrictHostKeyChecking {checking}\n", world))
    host = world.host("gpu", pinned=False)
    if is_taken:
        assert host.open(["serve"]).greeting["home"] == str(world.servers[1].home)
        host.close()
        assert not host.known_hosts.path.exists()
    else:
        with pytest.raises(HostKeyUnknown):
            host.open(["serve"])


def test_an_alias_is_what_the_key_is_pinned_under(world: World) -> None:
    world.write(filled("Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n HostKeyAlias box\n", world))
    assert world.host("gpu").key_name == "box"
    assert world.ours("gpu") == str(world.servers[1].home)


# The question itself


def test_ssh_is_asked_once_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = openssh.ssh_argv
    monkeypatch.setattr(openssh, "ssh_argv", lambda *words: asked.append(words[0]) or real(*words))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/one").write_text("Host gpu\n User me\n")
    config = tmp_path / "config"
    config.write_text(f"Include {tmp_path}/parts/*\n")
    assert [client_config("gpu", file=config).user for _ in range(3)] == ["me"] * 3
    assert asked == ["gpu"]
    (tmp_path / "parts/one").write_text("Host gpu\n User you\n")
    assert client_config("gpu", file=config).user == "you"
    (tmp_path / "parts/a").write_text("Host gpu\n User she\n")
    assert client_config("gpu", file=config).user == "she"
    assert asked == ["gpu"] * 3
    config.write_text('Match exec "true"\n User exec\n')
    assert [client_config("gpu", file=config).user for _ in range(2)] == ["exec"] * 2
    assert asked == ["gpu"] * 5


def test_a_mistake_in_the_file_is_said_in_openssh_s_words(world: World) -> None:
    world.write("Host gpu\n HostNam 127.0.0.1\n")
    with pytest.raises(SshConfigWrong, match=r"config: line 2: Bad configuration option: hostnam") as caught:
        world.host("gpu", pinned=False).open(["serve"])
    assert (caught.value.exit_code, caught.value.hint) == (2, "by hand: ssh -G gpu")


def test_a_configuration_that_waits_for_ever_has_a_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssh, "ASK_TIMEOUT_S", 1.0)
    world.write('Match exec "sleep 60"\n User me\n')
    with pytest.raises(HostUnreachable, match="does not answer within 1 s"):
        world.host("gpu", pinned=False).open(["serve"])


@pytest.mark.parametrize(
    "program",
    [
        "exit 0",
        "echo hello world",
        "head -c 3000 /dev/urandom",
        "echo user me; echo port ssh; echo hostname h",
        "echo user me; echo port 99999999999999999999; echo hostname h",
        "echo 'ssh: Warning: Ignoring unknown option -G' >&2; echo 'Dropbear SSH client v2022.83' >&2; exit 1",
        "echo 'ssh: illegal option -- G' >&2; exit 255",
    ],
)
def test_another_program_under_that_name_is_said_to_be_none(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    (tmp_path / "ssh").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    world.write(filled("Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n", world))
    assert world.ours("gpu") == str(world.servers[1].home)
    assert "is not OpenSSH's" in world.host("gpu").config.trouble


def test_a_user_that_is_no_utf_8_is_a_sentence(world: World) -> None:
    text = "Host gpu\n HostName 127.0.0.1\n Port B\n IdentityFile GOOD\n User für\n"
    world.write(filled(text, world), encoding="latin-1")
    with pytest.raises(SshConfigWrong, match=r"the User of gpu in .* is not UTF-8"):
        world.host("gpu", pinned=False).open(["serve"])


def test_without_an_ssh_program_the_plain_lines_count_and_that_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "# Büro\nHost gpu\n HostName 127.0.0.1\n Port B # odd\n IdentityFile D/missing\n IdentityFile GOOD\n"
    world.write(filled(text, world), encoding="latin-1")
    monkeypatch.setattr(openssh.shutil, "which", lambda _: None)
    assert world.ours("gpu") == str(world.servers[1].home)
    assert "there is no ssh program here" in world.host("gpu").config.trouble
