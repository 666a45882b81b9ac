"""The case of a setting: examples are drawn, the failure is planted, a model is trained or its answers are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.decomposition import PCA

from planted.models import encoder, trained
from planted.settings import Setting
from planted.sources import Source, load
from weakspot.predictions import Predictions
from weakspot.tasks import Classification

SIZES = {"train": 7000, "val": 1000, "test": 2000}
_OUTSIDE, _INSIDE = 0.75, 0.4  # mean probability of the label, of synthetic predictions
_COMPONENTS = 64
_BOOTSTRAPS = 1000


@dataclass(frozen=True, eq=False)
class Case:
    """The data on which a method is fitted, and those on which it is scored.

    Attributes:
        val, test: The predictions to fit on and to score on.
        val_slices, test_slices: (s, n) bool, the planted slices in which the model fails.
    """

    val: Predictions
    test: Predictions
    val_slices: Bool[np.ndarray, "s n"]
    test_slices: Bool[np.ndarray, "s m"]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Examples of one split, with the failure planted.

    Attributes:
        inputs: The model's inputs.
        labels: (n,) the targets, flipped if noisy.
        slices: (s, n) bool, the planted slices.
    """

    inputs: np.ndarray
    labels: Int[np.ndarray, " n"]
    slices: Bool[np.ndarray, "s n"]


def case(setting: Setting, root: Path, store: Path) -> Case | None:
    """Return the case of a setting; None if the model does not fail where it should, or the embedding is constant.

    Args:
        setting: What to plant.
        root: The folder of the sources.
        store: The folder in which models' answers are kept.
    """
    store.mkdir(parents=True, exist_ok=True)
    file = store / f"{setting.model_key}.npz"
    if not file.is_file():
        made = _made(setting, root)
        temporary = file.with_suffix(f".{np.random.default_rng().integers(1 << 30)}.tmp.npz")
        np.savez(temporary, **made)
        temporary.replace(file)
    with np.load(file) as stored:
        a = dict(stored)
    kept = a["kept"]
    if not kept.any() or not np.ptp(a[f"val_{setting.embedding}"], axis=0).any():
        return None
    task = Classification(tuple(f"target {i}" for i in range(setting.targets)))

    def predictions(part: str) -> Predictions:
        return Predictions.from_arrays(
            a[f"{part}_{setting.embedding}"],
            labels=a[f"{part}_labels"],
            outputs=a[f"{part}_outputs"],
            task=task,
        )

    return Case(predictions("val"), predictions("test"), a["val_slices"][kept], a["test_slices"][kept])


def _made(setting: Setting, root: Path) -> dict[str, Any]:
    """Return the arrays of a case, for all embeddings."""
    random = np.random.default_rng(setting.seed)
    source = load(setting.source, root)
    parts = _planted(setting, source, random)
    read = encoder(setting.source, root)
    pca = PCA(_COMPONENTS, random_state=0) if source.is_images and read is None else None
    if pca is not None:
        pca.fit(_flat(parts["train"].inputs))

    def other(inputs: np.ndarray) -> np.ndarray:
        return (
            inputs
            if not source.is_images
            else pca.transform(_flat(inputs))
            if pca is not None
            else read(inputs)
        )

    made: dict[str, Any] = {}
    model = (
        trained(
            parts["train"].inputs,
            parts["train"].labels,
            setting.targets,
            setting.seed,
            network=setting.network,
        )
        if (setting.predictions == "trained")
        else None
    )
    for part in ("val", "test"):
        drawn = parts[part]
        made[f"{part}_labels"], made[f"{part}_slices"] = drawn.labels, drawn.slices
        made[f"{part}_other"] = other(drawn.inputs).astype(np.float32)
        if model is None:
            made[f"{part}_outputs"] = _synthetic(drawn, setting.targets, random)
        else:
            made[f"{part}_earlier"], made[f"{part}_own"], made[f"{part}_outputs"] = model(drawn.inputs)
    right = made["test_outputs"].argmax(axis=1) == made["test_labels"]
    made["kept"] = np.array([fails(right, inside, random) for inside in made["test_slices"]])
    if model is None:
        made["kept"] = made["test_slices"].any(axis=1)
    made["kept"] &= made["val_slices"].sum(axis=1) >= 2
    return made


def _planted(setting: Setting, source: Source, random: np.random.Generator) -> dict[str, Drawn]:
    """Return training, validation and test examples, all with the failure planted."""
    groups = _targets(source, setting.targets, random)
    labels = groups[source.classes]
    attribute = np.zeros(len(labels), dtype=bool)
    if setting.kind == "correlation":
        attribute = random.random(len(labels)) < 0.5 if source.attribute is None else source.attribute
    chosen = int(random.choice(np.flatnonzero((groups == 1) & _divisible(groups))))
    ends = np.cumsum([len(labels) * size // sum(SIZES.values()) for size in SIZES.values()])
    parts = {}
    for (name, size), rows in zip(
        SIZES.items(), np.split(random.permutation(len(labels)), ends[:-1]), strict=True
    ):
        match setting.kind:
            case "rare":
                some = _rare(rows, labels, source.classes == chosen, setting.strength)[:size]
            case "noisy":
                some = rows[:size]
            case "correlation":
                some = _correlated(rows, size, labels, attribute, setting.strength)
        y, inside = labels[some], (source.classes[some] == chosen)[None]
        inputs = source.inputs[some]
        if setting.kind == "noisy":
            flipped = inside[0] & (random.random(len(some)) < setting.strength)
            y = np.where(flipped, (y + random.integers(1, setting.targets, len(some))) % setting.targets, y)
        if setting.kind == "correlation":
            has = attribute[some]
            inside = np.stack([(y == 0) & has, (y == 1) & ~has])
            if source.attribute is None:
                inputs = _marked(inputs, has, setting.seed)
        parts[name] = Drawn(inputs, y.astype(np.int64), inside)
    return parts


def _targets(source: Source, targets: int, random: np.random.Generator) -> Int[np.ndarray, " c"]:
    """Return the target of every class of the source: classes are distributed evenly over the targets, at random."""
    c = int(source.classes.max()) + 1
    if source.positive is not None:
        return np.isin(np.arange(c), source.positive).astype(np.int64)
    return random.permutation(np.arange(c) % targets)


def _divisible(groups: Int[np.ndarray, " c"]) -> Bool[np.ndarray, " c"]:
    """Return which classes share their target with another class, so that they are only a part of it."""
    return np.bincount(groups)[groups] > 1


def _rare(
    rows: Int[np.ndarray, " n"], labels: np.ndarray, thin: np.ndarray, share: float
) -> Int[np.ndarray, " m"]:
    """Return the rows thinned so that the thin class makes up `share` of its target in every leading part of them."""
    others = np.cumsum(~thin[rows] & (labels[rows] == 1))  # of its target
    allowed = np.maximum(np.floor(others * share / (1 - share)), 1)
    kept, taken = np.ones(len(rows), dtype=bool), 0
    for place in np.flatnonzero(thin[rows]):
        kept[place] = taken < allowed[place]
        taken += kept[place]
    return rows[kept]


def _correlated(
    rows: Int[np.ndarray, " n"], size: int, labels: np.ndarray, attribute: np.ndarray, correlation: float
) -> Int[np.ndarray, " m"]:
    """Return at most `size` rows: half have label 1, half have the attribute, and the two have this correlation."""
    agree = (1 + correlation) / 4  # the share of each of the two cells in which label and attribute agree
    cells = [
        (rows[(labels[rows] == y) & (attribute[rows] == a)], agree if y == a else 0.5 - agree)
        for y in (0, 1)
        for a in (0, 1)
    ]
    possible = min([size, *(len(some) / share for some, share in cells)])
    taken = np.concatenate([some[: int(possible * share)] for some, share in cells])
    return rows[np.isin(rows, taken)]


def _marked(images: np.ndarray, has: Bool[np.ndarray, " n"], seed: int) -> np.ndarray:
    """Draw the attribute into the images that have it: a patch in a corner, a brighter background, or a frame."""
    images = images.copy()
    thick = max(1, images.shape[2] // 14)
    match seed % 3:
        case 0:
            images[has, :, : 3 * thick, : 3 * thick] = 255
        case 1:
            images[has] = np.maximum(images[has], 70)
        case _:
            frame = np.ones(images.shape[2:], dtype=bool)
            frame[thick:-thick, thick:-thick] = False
            images[np.ix_(np.flatnonzero(has), range(images.shape[1]))] = np.where(frame, 160, images[has])
    return images


def _synthetic(drawn: Drawn, targets: int, random: np.random.Generator) -> Float[np.ndarray, "n c"]:
    """Return logits whose probability of the label is Beta(.75, .25) outside the slices and Beta(.4, .6) inside."""
    inside = drawn.slices.any(axis=0)
    mean = np.where(inside, _INSIDE, _OUTSIDE)
    p = np.clip(random.beta(mean, 1 - mean), 1e-6, 1 - 1e-6)
    rest = random.dirichlet(np.ones(targets - 1), len(p)) * (1 - p)[:, None]
    probabilities = np.empty((len(p), targets))
    others = np.arange(targets) != drawn.labels[:, None]
    probabilities[others] = rest.ravel()
    probabilities[~others] = p
    return np.log(np.maximum(probabilities, 1e-12)).astype(np.float32)


def fails(right: np.ndarray, inside: np.ndarray, random: np.random.Generator) -> bool:
    """Return whether the accuracy outside exceeds that inside beyond a bootstrap's 2.5 %."""
    if inside.sum() < 5:
        return False
    out, into = right[~inside], right[inside]
    gaps = [
        random.choice(out, len(out)).mean() - random.choice(into, len(into)).mean()
        for _ in range(_BOOTSTRAPS)
    ]
    return bool(np.quantile(gaps, 0.025) > 0)


def _flat(inputs: np.ndarray) -> np.ndarray:
    return inputs.reshape(len(inputs), -1).astype(np.float32) / 255
