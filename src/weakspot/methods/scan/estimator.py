"""The scan as an estimator: predictions in, slices out, each with a p-value of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from weakspot.methods.base import (
    Callback,
    Method,
    check_predictions,
    embeddings_for,
    no_progress,
    parameters_of,
)
from weakspot.methods.canonical_order import canonical_order
from weakspot.methods.discriminant import discriminant_membership, fit_discriminant
from weakspot.methods.distributed import check_same_fields, local_rows, process_group
from weakspot.methods.ordered_examples import build_slices, losses_of
from weakspot.methods.principal_components import fit_principal_components
from weakspot.methods.residuals import label_codes, residuals
from weakspot.methods.scan.balls import MIN_EXAMPLES, Balls, permutation_maxima
from weakspot.methods.setting_checks import check_at_least
from weakspot.predictions import Predictions
from weakspot.predictions.validation import check_finite
from weakspot.slices import Slices
from weakspot.tasks import Task

_APPLIED = ("directions", "offsets", "labels")  # the parameters that decide the membership of other examples
_CENTRES = 4000  # the largest number of ball centres, over all labels together


class _Hotspot(NamedTuple):
    label: int  # the number of its label among those scanned
    ball: int  # its number among the label's balls
    statistic: float
    p_value: float


class Scan(Method):
    """Finds regions of embedding space where the model does worse than on other examples of the same label.

    Within each label, the balls of nearest neighbours around every example are scanned for the one whose residuals
    (1 - p of the label) exceed the label's mean by the most standard errors. That ball grows around its centre as far
    as it stays as bad; its examples are set aside, and the search is repeated. A linear discriminant of a ball's
    members against the label's other examples gives the membership of any example. Nothing is optimised, and the
    p-value is exact for the whole search: residuals are permuted within labels, and all balls are scanned again.

    Kulldorff: A spatial scan statistic, Communications in Statistics 26 (1997).

    Args:
        n_slices: The largest number of slices.
        sizes: The sizes of the balls before they grow, in examples. Sizes above half of a label are skipped there; if
            all are, balls hold a quarter of the label.
        n_components: The number of principal components in which neighbours are searched for.
        draws: The number of permutations for the p-values; 0 for none.
        seed: The seed of the permutations, and of the centres if there are more than 4000 examples.
        sharded: Whether `fit` gets this process's rows only and the others of the torch.distributed group hold the
            rest; `slices_` then covers and describes this process's rows.

    Attributes:
        p_values_: (k,) how often chance alone produces a ball with as large a statistic; None without draws.
        statistics_: (k,) of the balls before they grew: how many standard errors they lie above the label's mean.
        slices_: One slice per grown ball, largest statistic first.
    """

    word = "scan"
    noun = "Hotspot"

    def __init__(
        self,
        n_slices: int = 5,
        sizes: Sequence[int] = (20, 40),
        n_components: int = 32,
        draws: int = 199,
        seed: int = 0,
        sharded: bool = False,
    ) -> None:
        self.n_slices = n_slices
        self.sizes = sizes
        self.n_components = n_components
        self.draws = draws
        self.seed = seed
        self.sharded = sharded

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, n_components=1, draws=0)
        if not isinstance(self.sizes, Sequence) or not all(_is_size(size) for size in self.sizes):
            raise ValueError(
                f"sizes={self.sizes} must be a list of whole numbers of at least 2, such as [20, 40]"
            )
        if not self.sizes:
            raise ValueError("sizes=[] is empty; give the sizes of balls in examples, such as [20, 40]")
        if n < MIN_EXAMPLES:
            raise ValueError(f"a scan needs {MIN_EXAMPLES} examples or more, and there are {n:.10g}")

    def fit(self, p: Predictions, callback: Callback | None = None) -> Scan:
        """Find the balls with the largest statistics in `p`; `callback(stage, done, total)` reports the progress."""
        check_predictions(p)
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
            local_positions, own_rows = local_rows(rows, len(p), processes)
            x = reduction.transform_rows(p.embeddings, own_rows)
            centres = _centres(len(rows), len(counts), random)
            balls_by_label.append(
                Balls.of(x, rows, errors, counts, tuple(self.sizes), centres, local_positions, processes)
            )
        available_by_label = [np.ones(len(rows), dtype=bool) for rows in rows_by_label]
        hotspots: list[_Hotspot] = []
        scores = []
        while len(hotspots) < self.n_slices:
            report_progress("scanning", len(hotspots) + 1, self.n_slices + 1)
            hotspot = processes.broadcast(
                lambda: self._worst_ball(balls_by_label, available_by_label, hotspots, random)
            )
            if hotspot is None:
                break
            rows, balls = rows_by_label[hotspot.label], balls_by_label[hotspot.label]
            local_positions, own_rows = local_rows(rows, len(p), processes)
            x = reduction.transform_rows(p.embeddings, own_rows)
            distances = balls.distances_from_centre(hotspot.ball, x, local_positions, processes)
            members = processes.broadcast(
                partial(balls.grow, hotspot.ball, distances, available_by_label[hotspot.label])
            )
            available_by_label[hotspot.label] = available_by_label[hotspot.label] & ~members
            discriminant = fit_discriminant(
                x, members[local_positions], counts[rows[local_positions]], processes
            )
            scores.append(reduction.score_of_embeddings(*discriminant))
            hotspots.append(hotspot)
        report_progress("scanning", self.n_slices + 1, self.n_slices + 1)
        parameters = {
            "directions": np.array([direction for direction, _ in scores]).reshape(
                len(hotspots), p.embeddings.shape[1]
            ),
            "offsets": np.array([offset for _, offset in scores], dtype=np.float64),
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

    def _worst_ball(
        self,
        balls_by_label: list[Balls],
        available_by_label: list[Bool[np.ndarray, " m"]],
        earlier: list[_Hotspot],
        random: np.random.Generator,
    ) -> _Hotspot | None:
        """Return the ball with the largest statistic over what remains; None if none is worse than its label."""
        worst = None
        for label, (balls, available) in enumerate(zip(balls_by_label, available_by_label, strict=True)):
            if balls.members.shape[0]:
                ball, z = balls.largest(available)
                if z > (worst[2] if worst else 0.0):
                    worst = label, ball, z
        if worst is None:
            return None
        p_value = np.nan
        if self.draws:
            chance = permutation_maxima(balls_by_label, available_by_label, self.draws, random)
            p_value = float((1 + (chance >= worst[2]).sum()) / (1 + self.draws))
            p_value = max([p_value, *(hotspot.p_value for hotspot in earlier)])
        return _Hotspot(*worst, p_value)

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the discriminant's probability for examples of the label; if labels are unknown, for all."""
        directions, offsets, labels = parameters_of(self._fitted(p), *_APPLIED)
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
