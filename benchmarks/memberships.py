"""The memory that hundreds of clusters of a million examples take, from their memberships to the findings.

    python benchmarks/memberships.py --docs docs/scale.md       # a minute of one core

Every example lies in one of the clusters, at random; in a tenth of the clusters the model is wrong three times as
often. As an array, their memberships would take `clusters * rows * 8` bytes. Anonymous memory is sampled twenty times a
second (`scale.py`), and stated without what the predictions took before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from planted.pages import write_between
from scale import Memory, anonymous

from weakspot import Findings, Predictions, Slices
from weakspot.slices import Memberships
from weakspot.slices.statistics import describe

LABELS, DIM = 10, 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--clusters", type=int, default=317)
    parser.add_argument("--docs", type=Path, help="a page to write the table into")
    options = parser.parse_args()
    n, k = options.rows, options.clusters
    rng = np.random.default_rng(0)
    clusters, labels, held = rng.integers(k, size=n), rng.integers(LABELS, size=n), rng.random(n) < 0.5
    wrong = rng.random(n) < np.where(clusters < k // 10, 0.3, 0.1)
    centers = 5 * rng.normal(size=(k, DIM)).astype(np.float32)
    p = Predictions.from_arrays(
        embeddings=centers[clusters] + rng.normal(size=(n, DIM)).astype(np.float32),
        labels=labels,
        predictions=(labels + wrong) % LABELS,
        losses=wrong * 2.0 + 0.1,
    )
    lines = [
        f"| {k} clusters of {n:,} examples, {k * n * 8 / 2**20:,.0f} MiB as an array | CPU s | anonymous memory |",
        "|---|---|---|",
    ]
    print("\n".join(lines))
    before = anonymous()

    def step(name: str, work: Callable[[], Any]) -> Any:
        with Memory() as memory:
            cpu = time.process_time()
            made = work()
            cpu = time.process_time() - cpu
        lines.append(f"| {name} | {cpu:.1f} | {(memory.peak - before) / 2**20:,.0f} MiB |")
        print(lines[-1], flush=True)
        return made

    with tempfile.TemporaryDirectory() as folder:
        weights = step(
            "memberships", lambda: Memberships.of_clusters(np.arange(k), clusters, np.arange(n), n)
        )
        statistics = step("their statistics", lambda: describe(weights, p))
        slices = Slices("udis", p.ids, weights, statistics)
        saved = step("saved", lambda: slices.save(Path(folder) / "slices"))
        loaded = step("loaded", lambda: Slices.load(saved))
        if not loaded.equals(slices):
            raise SystemExit("the slices that were loaded differ from those that were saved")
        found = step("findings, tested on half", lambda: Findings.build(p, loaded, confirm=held))
    confirmed = sum(one.confirmed for one in found.findings)
    lines.append(f"\n{len(found.findings)} findings, {confirmed} of them confirmed.")
    print(lines[-1])
    if options.docs:
        write_between(options.docs, "memberships", "\n".join(lines))


if __name__ == "__main__":
    main()
