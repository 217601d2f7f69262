"""Shards that training needs next, fetched while it computes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from t2v_core.data.bucket.cache import BoundedCache, CachedFile
from t2v_core.data.store.batches import BatchPlan
from t2v_core.errors import EngineError

THREADS = 2


class FetchAhead:
    """Fetches what it was told of last, in that order; threads that end with the process do it.

    What goes wrong is no matter here: whoever reads the shard meets it, and says so.
    """

    def __init__(self, cache: BoundedCache) -> None:
        self._cache, self._wanted = cache, list[CachedFile]()
        self._changed = threading.Condition()
        for number in range(THREADS):
            threading.Thread(target=self._fetch, name=f"shards ahead {number}", daemon=True).start()

    def want(self, files: Sequence[CachedFile]) -> None:
        """Fetch these next, and forget those before."""
        with self._changed:
            self._wanted = list(files)
            self._changed.notify_all()

    def _fetch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._wanted))
                file = self._wanted.pop(0)
            try:
                self._cache.bring_ahead(file)
            except (EngineError, OSError):
                continue


class Ahead:
    """Has the shards fetched that a step needs and those after it; asked at each step, it acts when they change.

    files: the shards of each group of the plan
    """

    def __init__(self, cache: BoundedCache, plan: BatchPlan, files: Sequence[Sequence[CachedFile]]) -> None:
        self._fetcher, self._plan, self._files = FetchAhead(cache), plan, files
        self._told: list[int] = []

    def at(self, step: int) -> None:
        """Look whether other shards come next."""
        if self._told and not self._plan.at_once:  # all of them, which stay
            return
        soon = self._plan.groups_soon(step)
        if soon != self._told:
            self._told = soon
            self._fetcher.want([file for number in soon for file in self._files[number]])
