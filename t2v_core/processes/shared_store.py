"""Where the processes of one run leave each other word: torch.distributed's key-value store, or a dictionary."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from t2v_core.errors import WorkFailed

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

RENDEZVOUS_TIMEOUT_S = 300


class SharedStore(Protocol):
    """Keys and values, and counters, that every process of a run sees alike.

    Raises WorkFailed when the process that holds the store is gone.
    """

    def set(self, key: str, value: str) -> None:
        """Set a key, which every process then sees."""
        ...

    def get(self, key: str) -> str:
        """Return the value of a key that is there."""
        ...

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, from 0; returns the sum."""
        ...

    def has(self, key: str) -> bool:
        """Tell whether a key is there."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Set a key to bytes."""
        ...

    def take(self, key: str) -> bytes:
        """Return the bytes of a key that is there."""
        ...

    def remove(self, key: str) -> None:
        """Forget a key."""
        ...


class OwnStore:
    """The store of a process that is alone: no port, and no torch to import."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._bytes: dict[str, bytes] = {}

    def set(self, key: str, value: str) -> None:
        """Set a key."""
        self._values[key] = value

    def get(self, key: str) -> str:
        """Return the value of a key that is there."""
        return self._values[key]

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, from 0; returns the sum."""
        self._counts[key] += amount
        return self._counts[key]

    def has(self, key: str) -> bool:
        """Tell whether a key was set; counters are not among the keys."""
        return key in self._values

    def put(self, key: str, data: bytes) -> None:
        """Set a key to bytes."""
        self._bytes[key] = data
        self._values[key] = ""

    def take(self, key: str) -> bytes:
        """Return the bytes of a key that is there."""
        return self._bytes[key]

    def remove(self, key: str) -> None:
        """Forget a key."""
        self._values.pop(key, None)
        self._bytes.pop(key, None)


class LaunchedStore:
    """The store that torchrun's agent keeps, or else the first process, at MASTER_ADDR:MASTER_PORT."""

    def __init__(self) -> None:
        from torch.distributed.rendezvous import rendezvous  # 2 s that a process alone need not pay

        try:
            deadline = timedelta(seconds=RENDEZVOUS_TIMEOUT_S)
            self._store: Store = next(rendezvous("env://", timeout=deadline))[0]
        except (RuntimeError, ValueError) as error:
            raise WorkFailed(
                f"the processes of this run cannot find each other: {str(error).splitlines()[0]}",
                hint="start them together: --processes N, or torchrun",
            ) from error

    def set(self, key: str, value: str) -> None:
        """Set a key, which every process then sees. Raises WorkFailed when the store's holder is gone."""
        with _held_by_another():
            self._store.set(key, value)

    def get(self, key: str) -> str:
        """Return the value of a key that is there. Raises WorkFailed when the store's holder is gone."""
        with _held_by_another():
            return str(self._store.get(key), "utf-8")

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, from 0; returns the sum. Raises WorkFailed when the store's holder is gone."""
        with _held_by_another():
            return self._store.add(key, amount)

    def has(self, key: str) -> bool:
        """Tell whether a key is there. Raises WorkFailed when the store's holder is gone."""
        with _held_by_another():
            return self._store.check([key])

    def put(self, key: str, data: bytes) -> None:
        """Set a key to bytes. Raises WorkFailed when the store's holder is gone."""
        with _held_by_another():
            self._store.set(key, data)  # type: ignore[arg-type]  # its stub knows texts only

    def take(self, key: str) -> bytes:
        """Return the bytes of a key that is there. Raises WorkFailed when the store's holder is gone."""
        with _held_by_another():
            return self._store.get(key)

    def remove(self, key: str) -> None:
        """Forget a key. Raises WorkFailed when the store's holder is gone."""
        with _held_by_another():
            self._store.delete_key(key)


@contextmanager
def _held_by_another() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # all of torch.distributed's errors are
        raise WorkFailed(
            "the process that started this one, or the first of its run, is gone",
            hint="run again; complete shards are kept",
        ) from error


def is_held_by_launcher() -> bool:
    """Return True when torchrun's agent holds the store, and outlives its processes.

    Source: torch/distributed/rendezvous.py.
    """
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
