"""The explorer's cache of recently used values."""

from __future__ import annotations

from threading import Thread
from time import sleep

import pytest

from weakspot.app.recent import Recent


def test_the_least_recently_used_value_is_dropped():
    kept = Recent[str, int](2)
    kept.add("a", 1)
    kept.add("b", 2)
    assert kept.get("a") == 1  # now the most recently used
    kept.add("c", 3)
    assert kept.values() == [1, 3]
    assert kept.get("b") is None


def test_a_value_is_made_once_while_it_is_kept():
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    kept = Recent[str, int](1)
    assert [kept.get_or_make("a", make) for _ in range(3)] == [0, 0, 0]
    assert kept.get_or_make("b", make) == 1
    assert kept.get_or_make("a", make) == 2  # it had been dropped


def test_threads_wait_for_a_value_that_another_thread_makes():
    made, kept, found = [], Recent[str, int](2), []

    def slowly() -> int:
        sleep(0.05)
        made.append(1)
        return len(made)

    threads = [Thread(target=lambda: found.append(kept.get_or_make("a", slowly))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), found) == (1, [1] * 8)


def test_a_value_that_could_not_be_made_is_tried_again():
    kept = Recent[str, int](2)
    with pytest.raises(ZeroDivisionError):
        kept.get_or_make("a", lambda: 1 // 0)
    assert kept.values() == []
    assert kept.get_or_make("a", lambda: 3) == 3
