"""Shards of a split's rows, `shard=3/64`: the rows that one of many jobs infers, and which shards are missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from weakspot.predictions.shards import claimed_rows


@dataclass(frozen=True)
class JobShard:
    """The rows that one of several jobs infers: consecutive ones, the same in every job with the same count.

    Attributes:
        number: The shard's number, counted from 1.
        count: How many shards there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> JobShard:
        """Read a shard as it is typed, `3/64`.

        Raises:
            ValueError: If the text is anything else.
        """
        numbers = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
        if numbers is None or int(numbers[2]) < 1:
            raise ValueError(f"shard={text} is not a shard of the rows: write shard=3/64 for the third of 64")
        number, count = int(numbers[1]), int(numbers[2])
        if not 1 <= number <= count:
            raise ValueError(f"shard={text}: the {count} shards are numbered from 1 to {count}")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def rows(self, n: int) -> range:
        """Return the shard's rows out of n; there may be none if there are fewer rows than shards."""
        return range(n * (self.number - 1) // self.count, n * self.number // self.count)


def missing_shards(folder: Path, n: int, count: int) -> list[int]:
    """Return the numbers of the shards with rows that the unfinished record in `folder` lacks.

    Args:
        folder: The folder of the record.
        n: How many rows the record has.
        count: How many shards there are.
    """
    missing = np.ones(n, dtype=bool)
    missing[claimed_rows(folder, n)] = False
    # Computed by rows, not by shards: somebody may ask for more shards than fit into memory.
    integer = np.int64 if count * n < 2**63 else object
    ends = (np.flatnonzero(missing) + 1).astype(integer)
    return [int(number) for number in np.unique(-(-count * ends // n))]


def format_ranges(numbers: list[int]) -> str:
    """Return numbers as a SLURM array takes them: `2,5-64`."""
    ranges = [
        [number for _, number in consecutive]
        for _, consecutive in groupby(enumerate(numbers), lambda position: position[1] - position[0])
    ]
    return ",".join(
        str(consecutive[0]) if len(consecutive) == 1 else f"{consecutive[0]}-{consecutive[-1]}"
        for consecutive in ranges
    )
