"""Which attributes a slice has more of than the rest of the data: the words a person would name it by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int, Num

MISSING = "(missing)"
"""The value that stands for null, NaN and nothing else."""

OTHERS = "(others)"
"""The value that stands for all those there is no room for."""

_DISTINCT_NUMBERS = 20  # more distinct numbers than this are told apart by quantile, not one by one
_BINS = 5
_PRIOR = 0.5  # Jeffreys' prior: an empty cell counts as half an example when values are ranked


@dataclass(frozen=True)
class Enrichment:
    """One value of one attribute that is commoner inside a slice than outside.

    share_inside, share_outside   weighted shares of the value, in [0, 1]
    lift                          share_inside / share_outside; infinite where the value occurs only inside
    weight                        Σ c·w over the examples with this value, in examples
    accuracy                      of the examples with this value inside the slice, where it is known: of two
                                  values in one slice it tells which of them fails
    """

    attribute: str
    value: str
    share_inside: float
    share_outside: float
    lift: float
    weight: float
    accuracy: float | None = None


@dataclass(frozen=True)
class Distribution:
    """All values of one attribute: weighted shares inside a slice and outside, each summing to one."""

    attribute: str
    values: tuple[str, ...]
    inside: tuple[float, ...]
    outside: tuple[float, ...]


@dataclass(frozen=True)
class Accuracy:
    """How often a model is right on the examples with one value of an attribute; the size is in examples."""

    attribute: str
    value: str
    size: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Categorical:
    """An attribute as a code per row into readable values."""

    name: str
    values: tuple[str, ...]
    codes: Int[np.ndarray, " n"]


def over_represented(
    weights: Float[np.ndarray, " n"],
    attributes: pa.Table,
    counts: Num[np.ndarray, " n"] | None = None,
    top: int = 10,
    correct: Bool[np.ndarray, " n"] | None = None,
) -> list[Enrichment]:
    """The attribute values that a slice has most too many of, the best name first; see `rank`.

    Several slices of one table are cheaper with `categorise` once and `rank` for each.
    """
    return rank(weights, categorise(attributes), counts, top, correct)


def rank(
    weights: Float[np.ndarray, " n"],
    attributes: Sequence[Categorical],
    counts: Num[np.ndarray, " n"] | None = None,
    top: int = 10,
    correct: Bool[np.ndarray, " n"] | None = None,
) -> list[Enrichment]:
    """At most `top` values with a lift above one, ordered by share_inside · log(lift).

    This is the value's term of the Kullback-Leibler divergence of the attribute inside from outside, in
    nats: large only for a strong lift on a real share, so neither a value that is everywhere nor a rare
    accident comes first. The ranking alone smooths both shares by half an example (Jeffreys' prior), which
    keeps values unseen outside finite; the shares and lifts reported are the plain ones. Ties keep the order
    of the columns and, within a column, of the values.

    Empty where the weights have no inside or no outside.
    """
    inside, outside = _masses(weights, counts)
    total_inside, total_outside = float(inside.sum()), float(outside.sum())
    if total_inside <= 0 or total_outside <= 0:
        return []

    scored: list[tuple[float, Enrichment]] = []
    for attribute in attributes:
        mass_inside, mass_outside = _by_value(attribute, inside), _by_value(attribute, outside)
        likely = (mass_inside + _PRIOR) / (total_inside + 2 * _PRIOR)
        elsewhere = (mass_outside + _PRIOR) / (total_outside + 2 * _PRIOR)
        scores = np.round(mass_inside / total_inside * np.log(likely / elsewhere), 12)
        right = None if correct is None else _by_value(attribute, inside * correct)
        for code in np.flatnonzero(
            (scores > 0) & (mass_inside * total_outside > mass_outside * total_inside)
        ):
            share_inside = float(mass_inside[code]) / total_inside
            share_outside = float(mass_outside[code]) / total_outside
            found = Enrichment(
                attribute=attribute.name,
                value=attribute.values[code],
                share_inside=share_inside,
                share_outside=share_outside,
                lift=share_inside / share_outside if share_outside > 0 else math.inf,
                weight=float(mass_inside[code]),
                accuracy=None if right is None else float(right[code] / mass_inside[code]),
            )
            scored.append((float(scores[code]), found))
    scored.sort(key=lambda pair: -pair[0])
    return [found for _, found in scored[:top]]


def distributions(
    weights: Float[np.ndarray, " n"],
    attributes: Sequence[Categorical],
    counts: Num[np.ndarray, " n"] | None = None,
    top: int = 12,
) -> list[Distribution]:
    """Every attribute's values in their own order; empty where the weights have no inside or no outside.

    Of an attribute with more than `top` values those with the largest share on either side are kept, and the
    others added up.
    """
    inside, outside = _masses(weights, counts)
    if inside.sum() <= 0 or outside.sum() <= 0:
        return []
    found = []
    for attribute in attributes:
        values = attribute.values
        shares = np.array([_by_value(attribute, mass) / mass.sum() for mass in (inside, outside)])
        if len(values) > top:
            kept = np.sort(np.argsort(-shares.max(axis=0), kind="stable")[: top - 1])
            rest = 1 - shares[:, kept].sum(axis=1, keepdims=True)
            values = (*(values[code] for code in kept), OTHERS)
            shares = np.concatenate([shares[:, kept], np.maximum(rest, 0)], axis=1)
        found.append(
            Distribution(attribute.name, values, tuple(shares[0].tolist()), tuple(shares[1].tolist()))
        )
    return found


def accuracies(
    attributes: Sequence[Categorical],
    correct: Bool[np.ndarray, " n"],
    counts: Num[np.ndarray, " n"] | None = None,
) -> list[Accuracy]:
    """The accuracy on every value of every attribute, the lowest first; ties keep the columns' order."""
    c, _ = _masses(np.ones(len(correct)), counts)
    found = []
    for attribute in attributes:
        sizes, right = _by_value(attribute, c), _by_value(attribute, c * correct)
        found += [
            Accuracy(attribute.name, value, float(size), float(hits / size))
            for value, size, hits in zip(attribute.values, sizes, right, strict=True)
            if size > 0
        ]
    return sorted(found, key=lambda line: line.accuracy)


def categorise(attributes: pa.Table) -> list[Categorical]:
    """The columns of a table that can describe a group, each as codes into readable values.

    Numbers with more than 20 distinct values become quintiles with round edges. Left out are columns that
    tell rows apart rather than join them: a text or integer column with a value of its own in more than half
    of its rows (identifiers, file names, captions), a constant one, and nested ones.
    """
    columns = (_categorical(name, attributes.column(name)) for name in attributes.column_names)
    return [column for column in columns if column is not None]


def _masses(weights: np.ndarray, counts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """c·w and c·(1 - w): what every row counts inside and outside."""
    w = np.asarray(weights, dtype=np.float64)
    c = np.ones_like(w) if counts is None else np.asarray(counts, dtype=np.float64)
    return c * w, c * (1 - w)


def _by_value(attribute: Categorical, mass: np.ndarray) -> np.ndarray:
    if len(attribute.codes) != len(mass):
        raise ValueError(
            f"attribute {attribute.name!r} has {len(attribute.codes)} rows but there are {len(mass)} weights"
        )
    return np.bincount(attribute.codes, weights=mass, minlength=len(attribute.values))


def _categorical(name: str, column: pa.ChunkedArray) -> Categorical | None:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return None
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
        kind = column.type
    distinct = pc.count_distinct(column).as_py()
    if distinct < 2 and column.null_count == 0:
        return None
    if not pa.types.is_floating(kind) and 2 < distinct > column.length() / 2:
        return None
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if numeric and distinct > _DISTINCT_NUMBERS:
        return _binned(name, column)
    return _listed(name, column)


def _listed(name: str, column: pa.ChunkedArray) -> Categorical:
    """Every value for itself, in the values' own order, so that the order of rows changes nothing."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = encoded.dictionary
    order = pc.sort_indices(values).to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    names = [_text(value) for value in values.take(pa.array(order)).to_pylist()]
    return _with_missing(name, names, np.where(codes >= 0, np.append(place, 0)[codes], -1))


def _binned(name: str, column: pa.ChunkedArray) -> Categorical:
    numbers = column.cast(pa.float64(), safe=False).to_numpy()
    known = ~np.isnan(numbers)
    whole = pa.types.is_integer(column.type)
    edges = _edges(numbers[np.isfinite(numbers)], whole)
    codes = np.where(
        known, np.searchsorted(edges, numbers, side="left"), -1
    )  # bin j: edges[j-1] < x ≤ edges[j]
    return _with_missing(name, _bin_names(edges, whole), codes)


def _edges(numbers: np.ndarray, whole: bool) -> np.ndarray:
    """Inner quantiles, rounded to what tells them apart, so that a label is exact and short."""
    quantiles = np.quantile(numbers, np.arange(1, _BINS) / _BINS)
    if whole:
        edges = np.unique(np.floor(quantiles))
    else:
        spread = float(quantiles[-1] - quantiles[0]) or float(np.ptp(numbers)) or 1.0
        edges = np.unique(np.round(quantiles, 2 - math.floor(math.log10(spread))))
    inner: np.ndarray = edges[edges < numbers.max()]
    return inner


def _bin_names(edges: np.ndarray, whole: bool) -> list[str]:
    texts = [_text(int(edge) if whole else float(edge)) for edge in edges]
    if not texts:
        return ["any"]
    names = [f"up to {texts[0]}"]
    for low, high in zip(range(len(texts) - 1), texts[1:], strict=True):
        if whole:
            first, last = int(edges[low]) + 1, int(edges[low + 1])
            names.append(str(first) if first == last else f"{first} to {last}")
        else:
            names.append(f"{texts[low]} to {high}")
    return [*names, f"over {texts[-1]}"]


def _with_missing(name: str, values: list[str], codes: np.ndarray) -> Categorical:
    if (codes < 0).any():
        codes = np.where(codes < 0, len(values), codes)
        values = [*values, MISSING]
    return Categorical(name, tuple(values), codes)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
