"""The scan as an estimator: predictions in, slices out, each with a p-value of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.methods.base import Callback, Method, embeddings_for, no_progress, parameters_of
from weakspot.methods.canonical_order import canonical_order
from weakspot.methods.discriminant import discriminant_membership, fit_discriminant
from weakspot.methods.distributed import check_same_fields, local_rows, process_group
from weakspot.methods.ordered_examples import build_slices, losses_of
from weakspot.methods.principal_components import fit_principal_components
from weakspot.methods.residuals import label_codes, residuals
from weakspot.methods.scan.balls import MIN_EXAMPLES, Balls, largest_by_chance
from weakspot.methods.scan.confidence import shorten_confidence
from weakspot.methods.setting_checks import check_at_least
from weakspot.predictions import Predictions
from weakspot.predictions.validation import check_finite
from weakspot.slices import Slices
from weakspot.tasks import Task

_APPLIED = ("directions", "offsets", "labels")  # the parameters that decide the membership of other examples
_CENTRES = 4000  # the number of examples around which balls lie, in all labels together


class _Hotspot(NamedTuple):
    label: int  # the number of its label among those scanned
    members: Int[np.ndarray, " k"]  # positions among the label's rows
    statistic: float
    p_value: float


class Scan(Method):
    """Finds regions of embedding space where the model does worse than on other examples of the same label.

    Within each label, the balls of the nearest neighbours of every example are scanned for the one whose residuals
    (1 - p of the label) exceed the label's mean by most standard errors; its examples are set aside, and the next is
    looked for. A discriminant of a ball's members against the others of the label says how much any example belongs.
    Nothing is optimised, and the p-value is that of the whole search: residuals are permuted within labels, and all
    balls are scanned again. It is exact where `confidence_removed` is 0, and nearly so elsewhere (docs/scan.md).

    Kulldorff: A spatial scan statistic, Communications in Statistics 26 (1997).

    Args:
        n_slices: The largest number of slices.
        sizes: Of the balls, in examples; those that hold more than half of a label are left out there, and where all
            do, they hold a quarter of it.
        n_components: The number of principal components in which neighbours are looked for.
        confidence_removed: How much of the direction from which the model's confidence can be read is left out when
            neighbours are looked for, from 0 to 1.
        draws: The number of permutations for the p-values; 0 for none.
        seed: Of the permutations, and of the centres where there are more than 4000 examples.
        sharded: `fit` gets this process's rows only, the others of the torch.distributed group hold the rest, and
            `slices_` covers and describes this process's rows.

    Attributes:
        p_values_: (k,) how often chance alone makes a ball of as large a statistic; None without draws.
        statistics_: (k,) of the balls: how many standard errors they lie above the label's mean.
        slices_: One slice per ball, the largest statistic first.
    """

    word = "scan"
    noun = "Hotspot"

    def __init__(
        self,
        n_slices: int = 5,
        sizes: Sequence[int] = (20, 40, 80, 160),
        n_components: int = 32,
        confidence_removed: float = 0.5,
        draws: int = 199,
        seed: int = 0,
        sharded: bool = False,
    ) -> None:
        self.n_slices = n_slices
        self.sizes = sizes
        self.n_components = n_components
        self.confidence_removed = confidence_removed
        self.draws = draws
        self.seed = seed
        self.sharded = sharded

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, n_components=1, confidence_removed=0, draws=0)
        if self.confidence_removed > 1:
            raise ValueError(f"confidence_removed={self.confidence_removed} must lie between 0 and 1")
        if not isinstance(self.sizes, Sequence) or not all(_is_size(size) for size in self.sizes):
            raise ValueError(f"sizes={self.sizes} must be a list of numbers of examples, from 2 on: [20, 40]")
        if not self.sizes:
            raise ValueError("sizes=[] holds no ball; give numbers of examples: [20, 40]")
        if n < MIN_EXAMPLES:
            raise ValueError(f"a scan needs {MIN_EXAMPLES} examples or more, and there are {n:.10g}")

    def fit(self, p: Predictions, callback: Callback | None = None) -> Scan:
        """Find the balls of the largest statistics in `p`; `callback(stage, done, total)` reports the progress."""
        processes = process_group(self.sharded)
        check_same_fields(p, processes)
        counts = processes.gather(p.row_counts)
        self.check(counts.sum(), p.task)
        report_progress = callback or no_progress
        random = np.random.default_rng(self.seed)
        check_finite("embeddings", p.embeddings, p.ids)
        errors, codes = processes.gather(residuals(p, processes)), processes.gather(label_codes(p))
        # The order in which rows are summed and drawn.
        order = canonical_order(p.embeddings, losses_of(p, processes), p.row_counts, processes)
        reduction = fit_principal_components(
            p.embeddings, counts, self.n_components, self.seed, order, processes
        )
        report_progress("neighbours", 0, self.n_slices + 1)
        by_label = order[np.argsort(codes[order], kind="stable")]
        rows_by_label = np.split(by_label, np.flatnonzero(np.diff(codes[by_label])) + 1)
        balls_by_label: list[Balls] = []
        # One label at a time: the reduced examples of all of them may not fit in memory.
        for rows in rows_by_label:
            here, own = local_rows(rows, len(p), processes)
            x = reduction.transform_rows(p.embeddings, own)
            shorten_confidence(x, errors[rows[here]], counts[rows[here]], self.confidence_removed, processes)
            centres = _centres(len(rows), len(counts), random)
            balls_by_label.append(
                Balls.of(x, rows, errors, counts, tuple(self.sizes), centres, here, processes)
            )
        hotspots = processes.broadcast(lambda: self._hotspots(balls_by_label, random, report_progress))
        directions, offsets = np.empty((len(hotspots), p.embeddings.shape[1])), np.empty(len(hotspots))
        for j, hotspot in enumerate(hotspots):
            rows = rows_by_label[hotspot.label]
            here, own = local_rows(rows, len(p), processes)
            x, members = reduction.transform_rows(p.embeddings, own), np.isin(here, hotspot.members)
            discriminant = fit_discriminant(x, members, counts[rows[here]], processes)
            directions[j], offsets[j] = reduction.score_of_embeddings(*discriminant)
        parameters = {
            "directions": directions,
            "offsets": offsets,
            "labels": np.array([codes[rows_by_label[one.label][0]] for one in hotspots], dtype=np.int64),
            "statistics": np.array([one.statistic for one in hotspots], dtype=np.float64),
            "p_values": np.array([one.p_value for one in hotspots], dtype=np.float64),
        }
        parameters = processes.broadcast(lambda: parameters)
        weights = discriminant_membership(p, *(parameters[name] for name in _APPLIED)).T
        self.slices_ = build_slices(self, p, weights, parameters)
        self.statistics_ = parameters["statistics"]
        self.p_values_ = parameters["p_values"] if self.draws else None
        return self

    def _hotspots(
        self, balls_by_label: list[Balls], random: np.random.Generator, report_progress: Callback
    ) -> list[_Hotspot]:
        """Choose the ball of the largest statistic, then that of what it leaves, and so on."""
        left = [np.ones(len(balls.rows), dtype=bool) for balls in balls_by_label]
        hotspots: list[_Hotspot] = []
        for j in range(self.n_slices):
            report_progress("scanning", j + 1, self.n_slices + 1)
            best = _largest(balls_by_label, left)
            if best is None:
                break
            label, members, z = best
            p_value = np.nan
            if self.draws:
                chance = largest_by_chance(balls_by_label, left, self.draws, random)
                p_value = float((1 + (chance >= z).sum()) / (1 + self.draws))
                p_value = max([p_value, *(earlier.p_value for earlier in hotspots)])
            hotspots.append(_Hotspot(label, np.flatnonzero(members), z, p_value))
            left[label] = left[label] & ~members
        report_progress("scanning", self.n_slices + 1, self.n_slices + 1)
        return hotspots

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the discriminant's probability for examples of the label; where labels are unknown, for all."""
        directions, offsets, labels = parameters_of(self._fitted(), *_APPLIED)
        embeddings_for(p.embeddings, directions.shape[1], "the hotspots")
        return discriminant_membership(p, directions, offsets, labels)

    @classmethod
    def p_searched(cls, slices: Slices) -> list[float | None]:
        p_values = slices.parameters.get("p_values", np.full(len(slices), np.nan))
        return [None if np.isnan(p) else float(p) for p in p_values]


def _is_size(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 2)


def _centres(m: int, n: int, random: np.random.Generator) -> Int[np.ndarray, " c"]:
    """Choose all m examples of a label as centres, or a sample in proportion to its share of n."""
    share = max(1, round(_CENTRES * m / n))
    return np.arange(m) if n <= _CENTRES or m <= share else np.sort(random.choice(m, share, replace=False))


def _largest(
    balls_by_label: list[Balls], left: list[Bool[np.ndarray, " m"]]
) -> tuple[int, Bool[np.ndarray, " m"], float] | None:
    """Return label, members and statistic of the ball with the largest one; None where none is worse than its label."""
    best = None
    for label, (balls, available) in enumerate(zip(balls_by_label, left, strict=True)):
        if balls.members.shape[0]:
            members, z = balls.largest(available)
            if z > (best[2] if best else 0.0):
                best = label, members, z
    return best
