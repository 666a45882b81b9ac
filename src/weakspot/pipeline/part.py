"""One part of a split's rows, `shard=3/64`: what one of many jobs infers, and how far all of them are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from weakspot.predictions.shards import claimed_rows


@dataclass(frozen=True)
class Part:
    """The part `number`, counted from 1, of `of`: consecutive rows, the same in every job that counts as many parts."""

    number: int
    of: int

    @classmethod
    def read(cls, word: str) -> Part:
        """From what is typed, `3/64`; ValueError for anything else."""
        numbers = re.fullmatch(r"([0-9]+)/([0-9]+)", word)
        if numbers is None or int(numbers[2]) < 1:
            raise ValueError(f"shard={word} is no part of the rows: write shard=3/64 for the third of 64")
        number, of = int(numbers[1]), int(numbers[2])
        if not 1 <= number <= of:
            raise ValueError(f"shard={word}: the {of} parts are numbered from 1 to {of}")
        return cls(number, of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def rows(self, n: int) -> range:
        """Its rows of n; none where there are fewer rows than parts."""
        return range(n * (self.number - 1) // self.of, n * self.number // self.of)


def missing_parts(folder: Path, n: int, of: int) -> list[int]:
    """The numbers of the parts of which a row is in no shard of the unfinished record in `folder`."""
    there = np.zeros(n, dtype=bool)
    there[claimed_rows(folder, n)] = True
    rows = {number: Part(number, of).rows(n) for number in range(1, of + 1)}
    return [number for number, part in rows.items() if not there[part.start : part.stop].all()]


def spans(numbers: list[int]) -> str:
    """Numbers as a SLURM array takes them: `2,5-64`."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda at: at[1] - at[0])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
