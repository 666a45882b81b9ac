"""Hostile and unlucky input, by the hundred thousand: is each case read correctly, or refused in one sentence?

    python benchmarks/fuzz.py --cases 100000 --docs docs/fuzz.md            # every format; continues where it stopped
    python benchmarks/fuzz.py --format png "csv table" --cases 1000         # these only
    python benchmarks/fuzz.py --format npz --seed 3 --first 4711 --cases 1  # one case, whose damage is described

A case is a valid input (a file, a folder of files, a request to the explorer, a command line) that is damaged in one
to three ways: bits, bytes and runs of bytes are changed, cut, repeated and inserted, and JSON values and words are
replaced by others. A case passes if it is read and the result is valid (a record that has checksums must then equal
what was written), or if it is refused with the documented error, in one line that names the file; the explorer refuses
with a page of status 4xx. Any other error is a fault, and so is a warning, or if more than ten seconds pass (a minute
for a command line) or more memory is requested than `--memory` allows. Each fault that differs in its kind or place
from those before is printed once, with the fewest of its damages that reproduce it and the command-line words to do so;
the exit code is then 1. The next run tries again what went wrong.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from planted.pages import write_between

from hostile_inputs import CASES
from mutations import outcomes, reduced

STORE = Path("outputs/fuzz")
"""The folder of the counts so far, one file for each format and seed."""

_BLOCK = 500  # cases between two lines of progress


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--format", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    words.add_argument(
        "--cases", type=int, default=1000, help="cases of each format, including those of earlier runs"
    )
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--first", type=int, help="try from this number on, and count nothing")
    words.add_argument("--seconds", type=float, default=float("inf"), help="after which no block begins")
    words.add_argument("--memory", type=int, default=8, help="GiB that the process may address")
    words.add_argument("--docs", type=Path, help="the page that the table is written into")
    asked = words.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (asked.memory << 30,) * 2)
    logging.disable(logging.CRITICAL)
    _silence_libraries()
    stop = time.monotonic() + asked.seconds
    wrong = 0
    for name in asked.format:
        wrong += run(name, asked.cases, asked.seed, asked.first, stop)
    if asked.docs is not None:
        write_between(asked.docs, "fuzz", table(asked.seed))
    sys.exit(int(wrong > 0))


def run(name: str, many: int, seed: int, first: int | None, stop: float) -> int:
    """Try cases of a format until there are `many`, or time is up; return how many went wrong."""
    file = STORE / f"{name.replace(' ', '-')}-{seed}.json"
    known: dict[str, Any] = json.loads(file.read_text()) if first is None and file.is_file() else {}
    counts, seconds, shown = Counter(known.get("counts", {})), known.get("seconds", 0.0), set[str]()
    before = known.get("went_wrong", [])  # these are tried again, for they may have been fixed
    begin = first if first is not None else sum(counts.values())
    end = many if first is None else first + many
    if (begin >= end and not before) or time.monotonic() > stop:
        return counts["wrong"]
    counts["wrong"] -= len(before)
    went_wrong: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        cases = CASES[name](Path(folder))
        blocks = [range(start, min(start + _BLOCK, end)) for start in range(begin, end, _BLOCK)]
        for numbers in [before, *blocks] if before else blocks:
            since = time.monotonic()
            for number, what in outcomes(cases, numbers, seed):
                word = what if what in ("fine", "refused") else "wrong"
                counts[word] += 1
                if word != "wrong":
                    continue
                went_wrong.append(number)
                kind = what.partition(": ")[0]
                if kind not in shown:
                    shown.add(kind)
                    fewest = reduced(cases, [seed, number], what)
                    print(f"{name}: {' '.join(what.split())[:500]}")
                    print(
                        f"    --format {name!r} --seed {seed} --first {number} --cases 1; damages {fewest}",
                        flush=True,
                    )
            seconds += time.monotonic() - since
            done = sum(counts.values())
            print(
                f"{name}: {done} cases, {done / max(seconds, 1e-9):.0f} a second, {dict(counts)}", flush=True
            )
            if first is None:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
                STORE.mkdir(parents=True, exist_ok=True)
                said = {"format": name, "counts": counts, "seconds": seconds, "peak": peak}
                file.write_text(json.dumps(said | {"went_wrong": went_wrong}))
            if time.monotonic() > stop:
                break
    return counts["wrong"]


def table(seed: int) -> str:
    """Return a table of what has been tried so far with a seed, in the order of the formats."""
    order = list(CASES)
    found = [json.loads(file.read_text()) for file in STORE.glob(f"*-{seed}.json")]
    lines = ["| format | cases | read | refused | faults |", "|---|---|---|---|---|"]
    for said in sorted(
        (said for said in found if said["format"] in order), key=lambda said: order.index(said["format"])
    ):
        counts = Counter(said["counts"])
        done = sum(counts.values())
        lines.append(
            f"| {said['format']} | {done} | {counts['fine']} | {counts['refused']} | {counts['wrong']} |"
        )
    return "\n".join(lines)


def _silence_libraries() -> None:
    """Discard what C libraries such as libtiff write to standard error; keep Python's own errors."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)


if __name__ == "__main__":
    main()
