"""Conjunctions of attribute values with frequent errors (Sagadeeva & Boehm, SIGMOD 2021)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from heapq import heappop, heappush

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.methods.base import Callback, Method, no_progress, parameters_of
from weakspot.methods.ordered_examples import OrderedExamples
from weakspot.methods.residuals import residuals
from weakspot.methods.setting_checks import check_at_least
from weakspot.predictions import Predictions
from weakspot.predictions.attributes import AttributeValue, Categorical, categorise, check_attributes
from weakspot.slices import Slices
from weakspot.tasks import Task

_ROUNDING = 1e-9
_MOST_VALUES = 50  # attributes with more values identify examples rather than group them
_NEEDED = "rules are made of attributes: give some, or take a method that reads embeddings (method=scan)"


class Rules(Method):
    """Finds the conjunctions of attribute values with the highest score: `age over 70 and camera = night`.

    Sagadeeva, Boehm: SliceLine, Fast, linear-algebra-based slice finding for ML model debugging, SIGMOD 2021. The score
    of a rule that holds for a share s of the examples, where the mean error is r times that of all, is
    alpha·(r - 1) - (1 - alpha)·(1/s - 1). The search is exact: it skips only what the paper's bound rules out. Of rules
    that hold for the same examples, the shortest is kept.

    This is the only method that reads attributes; of the predictions it reads only the residual, in [0, 1]: 1 - the
    probability of the label, or the scaled error of a number. Numbers and times are binned as in reports, with bin
    edges from the examples that were searched. An example belongs to a rule if all of its conditions hold.

    Args:
        n_slices: The largest number of rules; all do worse than all examples together.
        attributes: The attributes that rules are made of; by default all.
        max_conditions: The largest number of conditions in a rule.
        alpha: The weight of the error against the size, in (0, 1].
        min_size: The fewest examples in a slice.
    """

    word = "rules"
    in_embeddings = False
    reads_attributes = True
    noun = "Rule"
    size_parameter = "min_size"

    def __init__(
        self,
        n_slices: int = 5,
        attributes: list[str] | None = None,
        max_conditions: int = 3,
        alpha: float = 0.95,
        min_size: int = 20,
    ) -> None:
        self.n_slices = n_slices
        self.attributes = attributes
        self.max_conditions = max_conditions
        self.alpha = alpha
        self.min_size = min_size

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, max_conditions=1, min_size=1)
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha={self.alpha} must lie in (0, 1]")

    def check_attributes(self, names: Sequence[str]) -> None:
        if not names:
            raise ValueError(f"{_NEEDED}; these examples have none")
        chosen = list(self.attributes or ())
        check_attributes(f"attributes={chosen}", chosen, names)

    def fit(self, p: Predictions, callback: Callback | None = None) -> Rules:
        """Find the best rules of `p`, which must hold attributes."""
        self.check(p.row_counts.sum(), p.task)
        report_progress = callback or no_progress
        names = p.attributes.column_names
        self.check_attributes(names)
        columns = categorise(p.attributes.select(list(self.attributes or names)), _MOST_VALUES)
        if not columns:
            raise ValueError(f"{_NEEDED}; none of those given ({', '.join(names)}) groups examples")
        examples = OrderedExamples.of(p)
        codes = np.stack([column.codes[examples.order] for column in columns])
        search = _RuleSearch(codes, examples.counts, residuals(examples.record), self.alpha, self.min_size)
        report_progress("rules", 0, 1)
        rules = search.best(self.n_slices, self.max_conditions)
        report_progress("rules", 1, 1)
        weights = np.array([search.holds(rule) for rule in rules], dtype=bool).reshape(len(rules), len(p)).T
        parameters = {"conditions": _to_json_bytes(columns, rules)}
        self.slices_ = examples.slices(self, p, weights, parameters)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return 1 where all conditions of a rule hold."""
        rules = conditions(self._fitted(p))
        memberships = [np.all([one.matches(p.attributes) for one in rule], axis=0) for rule in rules]
        return np.array(memberships, dtype=np.float64).reshape(len(rules), len(p)).T

    @classmethod
    def advice(cls, slices: Slices) -> list[str]:
        """Return the rules in words, followed by the advice of every method."""
        sentences = [f"{cls.noun} {i} is: {rule}." for i, rule in enumerate(cls.slice_names(slices), 1)]
        return [*sentences, *super().advice(slices)]

    @classmethod
    def slice_names(cls, slices: Slices) -> list[str]:
        """Return the rules in words: `age 64 to 76 and camera = night`."""
        return [" and ".join(map(str, rule)) for rule in conditions(slices)] if slices.parameters else []


def conditions(slices: Slices) -> list[list[AttributeValue]]:
    """Return the conditions of every rule, all of which must hold."""
    (stored,) = parameters_of(slices, "conditions")
    return [[AttributeValue(**one) for one in rule] for rule in json.loads(stored.astype(np.uint8).tobytes())]


def _to_json_bytes(columns: list[Categorical], rules: list[_Rule]) -> Int[np.ndarray, " b"]:
    """Return the conditions as JSON bytes, because the parameters of slices are arrays of numbers."""
    conditions = [[asdict(columns[a].value(v)) for a, v in rule.conditions] for rule in rules]
    return np.frombuffer(json.dumps(conditions).encode(), dtype=np.uint8)


@dataclass(frozen=True, order=True)
class _Rule:
    """A conjunction, which sorts before worse ones: by score, then length, then the order of attributes.

    Attributes:
        conditions: Pairs of attribute and code.
    """

    minus_score: float
    length: int
    conditions: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class _RuleSearch:
    """Best-first branch and bound: extends the most promising rule until no bound exceeds the best scores.

    Every conjunction is reached once, by its attributes in order. The paper goes level by level and bounds a rule by
    all rules that it extends; here it is bounded by the one that it is reached from, which is exact as well.

    Attributes:
        codes: (a, n) the value of every attribute for every example.
        counts: (n,) how often each example counts.
        errors: (n,) in [0, 1].
        alpha: The weight of the error against the size.
        min_size: The fewest examples in a rule.
    """

    codes: Int[np.ndarray, "a n"]
    counts: Float[np.ndarray, " n"]
    errors: Float[np.ndarray, " n"]
    alpha: float
    min_size: float

    def best(self, k: int, max_conditions: int) -> list[_Rule]:
        """Return the k best rules that hold for different examples and score above 0."""
        best: dict[bytes, _Rule] = {}
        least = _ROUNDING
        promising: list[tuple[float, tuple[tuple[int, int], ...]]] = [(-np.inf, ())]
        if not (self.counts @ self.errors) > 0:
            return []
        while promising:
            minus_bound, parent = heappop(promising)
            if -minus_bound < least * (1 - _ROUNDING):
                break
            for score, bound, rule in self._extensions(parent):
                if score >= least * (1 - _ROUNDING):
                    new = _Rule(-score, len(rule), rule)
                    key = np.packbits(self.holds(new)).tobytes()
                    if key not in best or (new.length, rule) < (best[key].length, best[key].conditions):
                        best[key] = new
                    if len(best) > k:
                        del best[max(best, key=best.__getitem__)]
                    if len(best) == k:
                        least = max(least, -max(best.values()).minus_score)
                if len(rule) < max_conditions and bound >= least * (1 - _ROUNDING):
                    heappush(promising, (-bound, rule))
        return sorted(best.values())

    def holds(self, rule: _Rule) -> Bool[np.ndarray, " n"]:
        """Return for which examples a rule holds."""
        return self._holds(rule.conditions)

    def _holds(self, pairs: tuple[tuple[int, int], ...]) -> Bool[np.ndarray, " n"]:
        holds = np.ones(self.codes.shape[1], dtype=bool)
        for attribute, code in pairs:
            holds &= self.codes[attribute] == code
        return holds

    def _extensions(
        self, pairs: tuple[tuple[int, int], ...]
    ) -> Iterator[tuple[float, float, tuple[tuple[int, int], ...]]]:
        """Yield the rules with one more condition, on a later attribute: score, bound on all extensions, conditions."""
        rows = np.flatnonzero(self._holds(pairs))
        counts, errors = self.counts[rows], self.errors[rows]
        for attribute in range(pairs[-1][0] + 1 if pairs else 0, len(self.codes)):
            codes = self.codes[attribute, rows]
            members, sizes = np.bincount(codes), np.bincount(codes, counts)
            wrong, largest = np.bincount(codes, counts * errors), np.zeros(len(sizes))
            np.maximum.at(largest, codes, errors)
            eligible = (sizes >= self.min_size * (1 - _ROUNDING)) & (wrong > 0) & (members < len(rows))
            values = np.flatnonzero(eligible)
            sizes, wrong, largest = sizes[values], wrong[values], largest[values]
            scores = self._score(wrong, sizes)
            within = np.clip(wrong / largest, self.min_size, np.maximum(sizes, self.min_size))
            bounds = np.max(
                [self._score(np.minimum(wrong, s * largest), s) for s in (self.min_size, within, sizes)],
                axis=0,
            )
            for code, score, bound in zip(values, scores, bounds, strict=True):
                yield float(score), float(bound), (*pairs, (attribute, int(code)))

    def _score(
        self, wrong: Float[np.ndarray, " v"], sizes: Float[np.ndarray, " v"] | float
    ) -> Float[np.ndarray, " v"]:
        """Return alpha·(r - 1) - (1 - alpha)·(1/s - 1) for sums of errors and sizes."""
        n = self.counts.sum()
        worse = wrong / sizes * n / (self.counts @ self.errors) - 1
        return np.asarray(self.alpha * worse - (1 - self.alpha) * (n / sizes - 1))
