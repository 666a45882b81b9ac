"""Recognises the examples of confirmed findings among others: those of another split, or new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from weakspot.findings.extent import COMPONENTS
from weakspot.findings.finding import Finding
from weakspot.findings.memberships import core_members
from weakspot.findings.record import Findings
from weakspot.methods import audit_of
from weakspot.predictions import Predictions
from weakspot.slices import Slices

_MIN_OF_EITHER = 2  # members, and others, needed to fit a discriminant


class FindingClassifier:
    """Recognises the examples of confirmed findings in other predictions of the same model.

    A finding is a set of examples, its core. A linear discriminant of their embeddings (with Ledoit-Wolf shrinkage,
    after PCA to 32 dimensions) learns to distinguish them from other examples of its labels, and its posterior is the
    membership of any other example. Whether an example is right plays no part.

    Args:
        findings: The findings of a run, of which the confirmed ones are recognised.
        slices: The slices of the same run; their method says which examples it audits.
        predictions: The n examples that the findings describe.
        searched: (n,) which of these examples were searched for slices. The discriminants are fitted to them alone, so
            that the findings can be measured on the others.

    Attributes:
        findings: The k confirmed findings, in their order.
    """

    def __init__(
        self,
        findings: Findings,
        slices: Slices,
        predictions: Predictions,
        searched: Bool[np.ndarray, " n"],
    ) -> None:
        self.findings: tuple[Finding, ...] = tuple(one for one in findings.findings if one.confirmed)
        self.slices = slices
        group, number, row, weight = (
            findings.memberships[name].to_numpy(zero_copy_only=False)
            for name in ("group", "number", "row", "weight")
        )
        self._models = []
        for finding in self.findings:
            members = np.zeros(len(predictions), dtype=bool)
            of_finding = (group == "finding") & (number == finding.number)
            members[row[of_finding][core_members(weight[of_finding])]] = True
            rows = np.flatnonzero(self._population(finding, predictions) & searched)
            self._models.append(_fit(np.asarray(predictions.embeddings[rows]), members[rows]))

    def weights(self, p: Predictions) -> Float[np.ndarray, "k n"]:
        """Return how likely each example of `p` is to belong to each finding; 0 for examples of other labels."""
        weights = np.zeros((len(self.findings), len(p)))
        for own, finding, model in zip(weights, self.findings, self._models, strict=True):
            rows = np.flatnonzero(self._population(finding, p))
            if len(rows):
                x = np.asarray(p.embeddings[rows], dtype=np.float64)
                own[rows] = model if isinstance(model, float) else model.predict_proba(x)[:, 1]
        return weights

    def _population(self, finding: Finding, p: Predictions) -> Bool[np.ndarray, " n"]:
        """Return the examples that the method audits and that have a label that the finding is confined to."""
        audited = audit_of(self.slices, p)
        rows = np.asarray(audited.rows, dtype=bool)
        if not finding.labels or audited.record.labels is None:
            return rows
        return rows & np.isin(audited.record.labels, _codes(audited.record.classes(), finding.labels))


def _codes(classes: Sequence[str], labels: Sequence[str]) -> list[int]:
    return [classes.index(label) for label in labels]


def _fit(x: Float[np.ndarray, "m d"], members: Bool[np.ndarray, " m"]) -> Any:
    """Fit a discriminant of members against others; with too few of either, return one membership for all examples."""
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline

    inside = int(members.sum())
    if min(inside, len(members) - inside) < _MIN_OF_EITHER:
        return float(inside > len(members) / 2)
    steps = [LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")]
    if x.shape[1] > COMPONENTS:
        steps.insert(0, PCA(min(COMPONENTS, len(x)), random_state=0))
    return make_pipeline(*steps).fit(x.astype(np.float64), members)
