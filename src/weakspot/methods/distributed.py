"""Where the rows are: all here, or spread over the processes of a torch.distributed group.

Everything a search needs from rows it does not hold is a sum, a largest value, a column of numbers or a handful of
rows, so a sharded search is the plain one with these taken over the group. All processes then take the same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from jaxtyping import Float, Int, Num

from weakspot.predictions import Predictions

if TYPE_CHECKING:
    from torch import Tensor

# torch takes a second to import, and rows that are all here need none of it.

Values = TypeVar("Values", np.ndarray, "Tensor")
Anything = TypeVar("Anything")


class World(Protocol):
    size: int
    rank: int

    def sum(self, values: Values) -> Values: ...

    def largest(self, values: Values) -> Values: ...

    def gather(self, rows: Values) -> Values:
        """The rows (a, …) of every process, one after the other."""

    def before(self, n: int) -> int:
        """How many rows the processes before this one hold, where it holds n itself."""

    def first(self, compute: Callable[[], Anything]) -> Anything:
        """What the first process computes, in every process: another processor may round in another way."""


class Alone:
    """All rows are here."""

    size, rank = 1, 0

    def sum(self, values: Values) -> Values:
        return values

    def largest(self, values: Values) -> Values:
        return values

    def gather(self, rows: Values) -> Values:
        return rows

    def before(self, n: int) -> int:
        return 0

    def first(self, compute: Callable[[], Anything]) -> Anything:
        return compute()


ALONE = Alone()


def world_of(sharded: bool) -> World:
    """The processes of torch.distributed's default group, or this one alone.

    Raises:
        ValueError: If rows are sharded and there is no such group.
    """
    if not sharded:
        return ALONE
    from weakspot.methods.sharded import Sharded

    return Sharded()


def check_alike(p: Predictions, world: World) -> None:
    """Processes whose records are of different kinds would wait for each other's numbers for ever.

    Raises:
        ValueError: In all processes, where the width of the embeddings or what is known of the examples differs.
    """
    known = (p.labels, p.outputs, p.losses, p.correct)
    kinds = world.gather(
        np.array([[p.embeddings.shape[1], *(one is not None for one in known)]], dtype=np.int64)
    )
    if (kinds != kinds[0]).any():
        raise ValueError(
            "the processes' predictions differ in the width of their embeddings, or in whether they hold labels, "
            f"outputs, losses and which are right: {kinds.tolist()}; give all processes rows of one record"
        )


def held_here(
    rows: Int[np.ndarray, " m"], n: int, world: World
) -> tuple[Int[np.ndarray, " h"], Int[np.ndarray, " h"]]:
    """Which of some rows this process holds.

    Args:
        rows: By their numbers among those of all processes.
        n: How many rows this process holds.
        world: The processes.

    Returns:
        Positions in `rows`, and the numbers that these rows have in this process.
    """
    own = rows - world.before(n)
    positions = np.flatnonzero((own >= 0) & (own < n))
    return positions, own[positions]


def joined(
    x: Num[np.ndarray, "h d"], places: Int[np.ndarray, " h"], m: int, world: World
) -> Float[np.ndarray, "m d"]:
    """Rows of all processes, in every one of them.

    Args:
        x: Those that this process holds.
        places: Where each of these is to stand.
        m: How many rows there are in all.
        world: The processes.
    """
    out = np.zeros((m, x.shape[1]))
    out[places] = x
    return world.sum(out)
