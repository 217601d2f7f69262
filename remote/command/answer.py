"""What a status command may print: one word, or a JSON object. Nothing in it is believed before it was looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass

from remote.errors import ProviderFailed
from remote.power.state import Power
from remote.text import shown
from t2v_core.disk.plain_json import table
from t2v_core.disk.typed_json import Misfit, read_as

# As clouds and hypervisors say it, in small letters and without anything between them.
WORDS = {
    Power.RUNNING: "running on up active started online alive ready poweron poweredon",
    Power.STOPPED: "stopped off down inactive shutoff terminated halted offline poweroff poweredoff deallocated"
    " stoppeddeallocated shutdown shelved shelvedoffloaded suspended hibernated saved",
    Power.STARTING: "starting pending provisioning staging booting build building creating initializing initialising"
    " new poweringon startingup resuming restarting rebooting reboot hardreboot",
    Power.STOPPING: "stopping shuttingdown inshutdown poweringoff poweringdown deallocating suspending halting",
    Power.UNKNOWN: "unknown",
}
POWERS = {word: power for power, words in WORDS.items() for word in words.split()}
BEFORE = re.compile(r"^(powerstate|vmstate|vm|state|status)(?=.)")  # of "VM running", "PowerState/running"
STATES = "running, stopped, starting, stopping or unknown"
MOST_LETTERS = 64
MOST_GPUS = 1024
ADDRESS = re.compile(r"[\w.:%-]{1,253}")  # a name or an IP; nothing that a shell or ssh could take for an option


@dataclass(frozen=True)
class Answer:
    """What was printed. word: the state, as it was said; usd_per_hour: None when it does not say"""

    word: str
    power: Power
    address: str | None = None
    machine: str = ""
    gpus: tuple[str, ...] = ()
    usd_per_hour: float | None = None


@dataclass(frozen=True)
class _Object:
    state: str
    address: str | None = None
    machine: str | None = None
    gpus: tuple[str, ...] | str | None = None
    usd_per_hour: float | None = None


def power_of(word: str) -> Power | None:
    """Return what a word means, whatever its case and what is between its letters; None for one that nobody knows."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    return POWERS.get(letters) or POWERS.get(BEFORE.sub("", letters))


def read_answer(printed: bytes, who: str) -> Answer:
    """Read what a status command printed. who: whose, for sentences. Raises ProviderFailed for what is no answer."""
    text = printed.strip()
    if not text:
        raise ProviderFailed(
            f"{who} prints nothing", f"it should print {STATES}, or a JSON object with that as its state"
        )
    return _of_object(text, who) if text.startswith(b"{") else _of_word(text.decode(errors="replace"), who)


def _of_word(text: str, who: str) -> Answer:
    power = power_of(text) if len(text) <= MOST_LETTERS else None
    if power is None:
        sentence = f"{who} prints {_quoted(text)}, which is not a state"
        raise ProviderFailed(sentence, f"it should print {STATES}, or a JSON object with that as its state")
    return Answer(shown(text), power)


def _of_object(text: bytes, who: str) -> Answer:
    try:
        said = read_as(_Object, table(text))
    except Misfit as wrong:
        example = 'as in {"state": "running", "address": "10.0.0.7", "gpus": ["T4"]}'
        raise ProviderFailed(f"{who}: {wrong}", example) from wrong
    except ValueError as error:
        raise ProviderFailed(f"{who} prints no JSON object: {error}", "try it by hand") from error
    plain = _of_word(said.state, who)
    gpus = (said.gpus,) if isinstance(said.gpus, str) else said.gpus or ()
    return Answer(
        plain.word, plain.power, address=_address(said.address, who), machine=shown(said.machine or ""),
        gpus=tuple(map(shown, gpus[:MOST_GPUS])), usd_per_hour=_price(said.usd_per_hour, who),
    )  # fmt: skip


def _address(said: str | None, who: str) -> str | None:
    if not said:
        return None
    if said.startswith("-") or not ADDRESS.fullmatch(said):
        sentence = f"{who} says that its address is {_quoted(said)}"
        raise ProviderFailed(sentence, "it should be a name or an IP, without user and port")
    return said


def _price(said: float | None, who: str) -> float | None:
    if said is not None and said < 0:
        raise ProviderFailed(f"{who} says that an hour costs {said:g} USD", "it should be 0 or more")
    return said


def _quoted(text: str) -> str:
    text = shown(text)
    return f"'{text}'" if len(text) <= MOST_LETTERS else f"'{text[:MOST_LETTERS]}…'"
