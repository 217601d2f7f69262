"""Work on many items in threads, with the results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int, ahead: int, name: str = ""
) -> Generator[Result]:
    """Yield `work(item)` for each item, in order, worked on by `threads` at a time.

    ahead: how many items are taken before the first result is asked for; one more is taken for each result
    name: what the threads are called
    An error of `work` is raised when its item comes. Closing the iterator ends the threads, after the items in work.
    """
    remaining = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    waiting: deque[Future[Result]] = deque()
    try:
        waiting.extend(pool.submit(work, item) for item in islice(remaining, ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
