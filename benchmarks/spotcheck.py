"""SpotCheck: images of shapes, and models that are blind to some of them. Which method discovers the blind spots?

    python benchmarks/spotcheck.py --seeds 30                   # half a minute a configuration, on one core

Plumb, Johnson, Cabrera, Talwalkar: Towards a more rigorous science of blindspot discovery in image classification
models, TMLR 2023. A configuration is drawn for each seed, as the authors' public code draws it: a background, squares
and one to three other objects, whose presence, size, colour, texture and place are rolled. The target is whether there
is a square. In a blind spot, which is a conjunction of attributes, squares are labelled as absent in training.

Two things are smaller than published, so that one core suffices: a small network is trained on 7000 images of 28 × 28
pixels (there, a ResNet-18 on 25 000 to 100 000 of 224 × 224), and blind spots have two to four attributes beside the
square (there, four to six), which gives each as many images in training. A method is fitted on 2000 other images, in
the network's own embedding and with true labels, and judged on 3000 more. A blind spot in which the network does not
fail, beyond a bootstrap's 2.5 %, is left out, and so is a configuration in which it is right about less than 80 % of
the images outside all blind spots.

A slice holds the images whose membership is one half or more. It belongs to a blind spot if 80 % of them lie in the
spot; a blind spot is discovered if the slices that belong to it hold 80 % of its images (the paper's λ). The discovery
rate is the share of blind spots discovered. The false discovery rate is the share of slices that belong to none, among
the first slices, as many as it takes to discover all the spots that are discovered at all. It is averaged over seeds in
which something is discovered.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from planted.cases import Case, fails
from planted.contenders import Contender, ceiling, of_method
from planted.models import trained
from planted.pages import interval, write_between
from planted.scores import scores
from planted.shapes import Configuration

from weakspot.predictions import Predictions
from weakspot.tasks import Classification

STORE = Path("outputs/planted/spotcheck")
SIZES = {"train": 7000, "val": 2000, "test": 3000}
SPOTS = (2, 4)  # attributes beside the square, at least and at most
EPOCHS = 12
SOUND = 0.8
BELONGS = COVERS = 0.8
METHODS: dict[str, Contender] = {
    "ceiling": ceiling,
    "random": of_method("random"),
    "kmeans": of_method("kmeans"),
    "udis": of_method("udis"),
    "spotlight search=published": of_method("spotlight", search="published"),
    "planespot": of_method("planespot"),
    "domino": of_method("domino"),
    "scan": of_method("scan"),
    "scan, four sizes": of_method("scan", sizes=(20, 40, 80, 160)),
}


def case(seed: int) -> Case:
    """Return what methods are fitted and judged on, with the blind spots in which the network fails."""
    STORE.mkdir(parents=True, exist_ok=True)
    file = STORE / f"{seed}.npz"
    if not file.is_file():
        np.savez(file, **_made(seed))
    with np.load(file) as stored:
        a = dict(stored)
    right = a["test_outputs"].argmax(axis=1) == a["test_labels"]
    kept = a["fails"] & (right[~a["test_spots"].any(axis=0)].mean() >= SOUND)
    task = Classification(("no square", "square"))
    val, test = (
        Predictions.from_arrays(
            a[f"{part}_embeddings"], labels=a[f"{part}_labels"], outputs=a[f"{part}_outputs"], task=task
        )
        for part in ("val", "test")
    )
    return Case(val, test, a["val_spots"][kept], a["test_spots"][kept])


def _made(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    configuration = Configuration.drawn(random, SPOTS)
    drawn = {part: configuration.images(size, random) for part, size in SIZES.items()}
    images, square, spots = drawn["train"]
    model = trained(images, (square & ~spots.any(axis=0)).astype(np.int64), 2, seed, EPOCHS)
    made: dict[str, Any] = {}
    for part in ("val", "test"):
        images, square, made[f"{part}_spots"] = drawn[part]
        made[f"{part}_labels"] = square.astype(np.int64)
        _, made[f"{part}_embeddings"], made[f"{part}_outputs"] = model(images)
    right = made["test_outputs"].argmax(axis=1) == made["test_labels"]
    made["fails"] = np.array([fails(right, inside, random) for inside in made["test_spots"]])
    made["accuracy"] = np.array([right.mean(), *(right[inside].mean() for inside in made["test_spots"])])
    return made


def rates(memberships: Float[np.ndarray, "n k"], spots: Bool[np.ndarray, "s n"]) -> tuple[float, float]:
    """Return the discovery rate and the false discovery rate; the latter is NaN if nothing is discovered."""
    slices = (memberships >= 0.5).T
    sizes = np.maximum(slices.sum(axis=1), 1)[:, None]
    belongs = slices.astype(float) @ spots.T / sizes >= BELONGS  # (k, s)

    def discovered(first: int) -> int:
        held = [
            (slices[:first][belongs[:first, j]].any(axis=0) & spot).sum() >= COVERS * spot.sum()
            for j, spot in enumerate(spots)
        ]
        return int(np.sum(held))

    k = len(slices)
    if not discovered(k):
        return 0.0, float("nan")
    first = next(u for u in range(1, k + 1) if discovered(u) == discovered(k))
    return discovered(k) / len(spots), float(1 - belongs[:first].any(axis=1).mean())


def measured(seeds: range) -> dict[str, list[dict[str, float]]]:
    """Return, by method, one line of scores for each seed in which the network has a blind spot."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
    for seed in seeds:
        made = case(seed)
        for name, method in METHODS.items() if len(made.test_slices) else ():
            started = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                memberships = method(made, seed)
            seconds = time.process_time() - started
            discovery, false_discovery = rates(memberships, made.test_slices)
            line = scores(memberships, made.test_slices, seed) | {"DR": discovery, "FDR": false_discovery}
            found[name].append(line | {"seconds": seconds, "spots": len(made.test_slices)})
        print(f"seed {seed}: {len(made.test_slices)} blind spots", flush=True)
    return found


def table(found: dict[str, list[dict[str, float]]]) -> list[str]:
    any_method = next(iter(found.values()))
    lines = [
        f"{int(sum(one['spots'] for one in any_method))} blind spots of {len(any_method)} configurations.",
        "",
        "| method | discovery rate | false discovery rate (configurations) | P@10 | success | AP | CPU s |",
        "|" + "---|" * 7,
    ]
    for name, scored in found.items():
        false = np.array([one["FDR"] for one in scored])
        false = false[~np.isnan(false)]
        cells = [interval(np.array([one["DR"] for one in scored]))]
        cells.append(f"{false.mean():.2f} ({len(false)})" if len(false) else "–")
        cells += [
            interval(np.array([one[metric] for one in scored]))
            for metric in ("precision@10", "success", "average precision")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {np.mean([one['seconds'] for one in scored]):.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="configurations")
    parser.add_argument("--first", type=int, default=0, help="the first of them; 0 to 29 have been looked at")
    parser.add_argument("--docs", type=Path, help="a page to write the table into")
    options = parser.parse_args()
    text = "\n".join(table(measured(range(options.first, options.first + options.seeds))))
    print(text)
    if options.docs:
        write_between(options.docs, f"spotcheck{f' from {options.first}' if options.first else ''}", text)


if __name__ == "__main__":
    main()
