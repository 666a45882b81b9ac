"""MNIST-Sum: the sum of two digits side by side, of which a model gets three groups wrong. Which method finds them?

    python benchmarks/mnist_sum.py --root data --docs docs/benchmark.md     # a few minutes on one core

The data are those of CB-SLICE (ICML 2026; its public code, `create_dataset_mnist_sum.py`): 3775 pairs of the digits 0
to 3, 250 of each of the 16 pairs except for 25 of (2, 2); the target is their sum. Pairs (1, 1) are red nine times in
ten, and (0, 3) once in ten, so that a model takes red for a sum of 2. The groups in which it should fail are (2, 2),
(1, 1) if not red, and (0, 3) if red.

Each seed draws a training, a validation and a test set, and trains a small network. No digit is in two of the sets: the
first two use the halves of MNIST's training images, the third its test images. (The published evaluation fits and
scores on one and the same set, whose digits are those of training, and its network is a ResNet-18 with concepts.) A
method is fitted on validation, in the network's own embedding, and scored on test. A group in which the network does
not fail, beyond a bootstrap's 2.5 %, is left out for that seed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from planted.cases import Case, fails
from planted.contenders import contenders
from planted.models import trained
from planted.pages import interval, write_between
from planted.scores import scores
from planted.sources import ADVICE, load

from weakspot.predictions import Predictions
from weakspot.tasks import Classification

STORE = Path("outputs/planted/mnist_sum")
GROUPS = ("(2, 2)", "(1, 1) not red", "(0, 3) red")
METHODS = ("ceiling", "random", "kmeans", "udis", "spotlight search=published", "planespot", "domino", "scan")
ROWS = {"train": (0, 30_000), "val": (30_000, 60_000), "test": (60_000, 70_000)}
PAIRS, RARE = 250, 25
RED = {(1, 1): 0.9, (0, 3): 0.1}
EPOCHS = 6


def pairs(
    images: np.ndarray, classes: Int[np.ndarray, " n"], random: np.random.Generator
) -> tuple[np.ndarray, Int[np.ndarray, " m"], Bool[np.ndarray, "3 m"]]:
    """Return pairs of digits, (m, 3, 28, 56) uint8, their sums, and which of the groups each is in."""
    left, right = np.repeat(
        np.indices((4, 4)).reshape(2, 16), np.where(np.arange(16) == 10, RARE, PAIRS), axis=1
    )
    order = random.permutation(len(left))
    left, right = left[order], right[order]
    of = [np.flatnonzero(classes == digit) for digit in range(4)]
    halves = [images[[random.choice(of[digit]) for digit in side], 0] for side in (left, right)]
    coloured = np.repeat(np.concatenate(halves, axis=2)[:, None], 3, axis=1)
    red = random.random(len(left)) < [
        RED.get(pair, 0.0) for pair in zip(left.tolist(), right.tolist(), strict=True)
    ]
    coloured[red, 1:] = 0
    groups = [(left == 2) & (right == 2), (left == 1) & (right == 1) & ~red, (left == 0) & (right == 3) & red]
    return coloured, left + right, np.stack(groups)


def case(seed: int, root: Path) -> tuple[Case, Bool[np.ndarray, " 3"]]:
    """Return what methods are fitted and scored on, and in which groups the network fails."""
    STORE.mkdir(parents=True, exist_ok=True)
    file = STORE / f"{seed}.npz"
    if not file.is_file():
        np.savez(file, **_made(seed, root))
    with np.load(file) as stored:
        a = dict(stored)
    task = Classification(tuple(f"sum {i}" for i in range(7)))
    val, test = (
        Predictions.from_arrays(
            a[f"{part}_embeddings"], labels=a[f"{part}_labels"], outputs=a[f"{part}_outputs"], task=task
        )
        for part in ("val", "test")
    )
    return Case(val, test, a["val_groups"][a["fails"]], a["test_groups"][a["fails"]]), a["fails"]


def _made(seed: int, root: Path) -> dict[str, Any]:
    mnist, random = load("mnist", root), np.random.default_rng(seed)
    drawn = {part: pairs(mnist.inputs[a:b], mnist.classes[a:b], random) for part, (a, b) in ROWS.items()}
    model = trained(drawn["train"][0], drawn["train"][1], 7, seed, EPOCHS)
    made: dict[str, Any] = {}
    for part in ("val", "test"):
        inputs, made[f"{part}_labels"], made[f"{part}_groups"] = drawn[part]
        _, made[f"{part}_embeddings"], made[f"{part}_outputs"] = model(inputs)
    right = made["test_outputs"].argmax(axis=1) == made["test_labels"]
    made["fails"] = np.array([fails(right, inside, random) for inside in made["test_groups"]])
    made["accuracy"] = np.array([right.mean(), *(right[inside].mean() for inside in made["test_groups"])])
    return made


def measured(seeds: range, root: Path) -> dict[str, list[dict[str, float]]]:
    """Return, by method, one line of scores for each group and seed in which the network fails."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
    for seed in seeds:
        made, failed = case(seed, root)
        for name in METHODS if failed.any() else ():
            started = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                memberships = contenders()[name](made, seed)
            seconds = time.process_time() - started
            for group, inside in zip(np.flatnonzero(failed), made.test_slices, strict=True):
                line = scores(memberships, inside[None], seed)
                found[name].append({"group": group, "seed": seed, "seconds": seconds, **line})
        print(f"seed {seed}: {failed.sum()} groups", flush=True)
    return found


def table(found: dict[str, list[dict[str, float]]]) -> list[str]:
    lines = [
        f"| method | P@10: {' | '.join(GROUPS)} | all: P@10 | success | AP | CPU s |",
        "|" + "---|" * (len(GROUPS) + 5),
    ]
    for name, scored in found.items():
        cells = []
        for group in range(len(GROUPS)):
            some = [one["precision@10"] for one in scored if one["group"] == group]
            cells.append(f"{np.mean(some):.2f} ({len(some)})" if some else "–")
        for metric in ("precision@10", "success", "average precision"):
            seeds = sorted({one["seed"] for one in scored})
            cells.append(
                interval(
                    np.array([np.mean([o[metric] for o in scored if o["seed"] == seed]) for seed in seeds])
                )
            )
        lines.append(f"| {name} | {' | '.join(cells)} | {np.mean([one['seconds'] for one in scored]):.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"MNIST below --root: {ADVICE['mnist']}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=4, help="draws of the data and trained networks")
    parser.add_argument("--root", type=Path, default=Path("data"), help="the folder of the sources")
    parser.add_argument("--docs", type=Path, help="a page to write the table into")
    options = parser.parse_args()
    text = "\n".join(table(measured(range(options.seeds), options.root)))
    print(text)
    if options.docs:
        write_between(options.docs, "mnist sum", text)


if __name__ == "__main__":
    main()
