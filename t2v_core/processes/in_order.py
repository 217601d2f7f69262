"""Work on many items in threads, with the results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int, ahead: int, name: str = ""
) -> Iterator[Iterator[Result]]:
    """Give an iterator of `work(item)` for each item, in order, worked on by `threads` at a time.

    ahead: how many items are taken before the first result is asked for; one more is taken for each result
    name: what the threads are called
    An error of `work` is raised when its item comes. At the end the threads end, after the items in work.
    """
    # A generator that ends its threads when it is closed may be closed by one of them, which cannot wait for itself:
    # what an error's traceback keeps is collected in whichever thread happens to allocate.
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        try:
            yield _results(pool, work, iter(items), ahead)
        finally:
            pool.shutdown(cancel_futures=True)


def _results(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], remaining: Iterator[Item], ahead: int
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque(pool.submit(work, item) for item in islice(remaining, ahead))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(work, item) for item in islice(remaining, 1))
        yield result
