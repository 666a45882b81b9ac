"""Work on blocks of rows in as many threads as numba may use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba


def each_block(
    n: int,
    size: int,
    work: Callable[[int, int], None],
    on_progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Call `work(start, stop)` for every block of at most `size` of n rows; it should release the GIL.

    It is never called during a matrix product, which has threads of its own.

    `on_progress(rows done)` is called from this thread. NUMBA_NUM_THREADS sets the number of threads (by default the
    CPUs this process may use). The blocks are the same for every number of threads, so results are too.
    """
    starts = range(0, n, size)
    threads = min(int(numba.config.NUMBA_NUM_THREADS), len(starts))  # type: ignore[attr-defined]

    def run(start: int) -> int:
        stop = min(start + size, n)
        work(start, stop)
        return stop

    if threads <= 1:
        for start in starts:
            on_progress(run(start))
        return
    with ThreadPoolExecutor(threads) as pool:
        for stop in pool.map(run, starts):
            on_progress(stop)
