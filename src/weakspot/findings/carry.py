"""Confirmed findings carried to examples that they were not found in: those of another split, or of tomorrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from weakspot.findings.record import Finding, Findings
from weakspot.methods import audit_of
from weakspot.predictions import Predictions
from weakspot.slices import Slices

_COMPONENTS = 32  # as the extents of findings have it
_FEWEST = 2  # examples of either kind that a discriminant is fitted to


class Carried:
    """Recognises the examples of confirmed findings in other predictions of the same model.

    A finding is a set of examples. What tells them from other examples of its labels is learnt by a linear
    discriminant of their embeddings (its covariance shrunken, Ledoit-Wolf; after PCA to 32 dimensions), whose posterior
    is the membership of any other example. Whether an example is right has no part in it.

    Args:
        findings: Those of a run; confirmed ones are carried.
        slices: Of the same run: their method says which examples it judges.
        predictions: What the findings are of.
        searched: Which of these examples slices were sought in; only they are learnt from, so that on the others the
            findings can be measured.

    Attributes:
        findings: The confirmed ones, in their order.
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
        group, number, row = (
            findings.memberships[name].to_numpy(zero_copy_only=False) for name in ("group", "number", "row")
        )
        self._models = []
        for finding in self.findings:
            members = np.zeros(len(predictions), dtype=bool)
            members[row[(group == "finding") & (number == finding.number)]] = True
            rows = np.flatnonzero(self._population(finding, predictions) & searched)
            self._models.append(_fitted(np.asarray(predictions.embeddings[rows]), members[rows]))

    def membership(self, p: Predictions) -> Float[np.ndarray, "k n"]:
        """How likely each example of `p` is one of each finding's; 0 for those of other labels."""
        found = np.zeros((len(self.findings), len(p)))
        for weights, finding, model in zip(found, self.findings, self._models, strict=True):
            rows = np.flatnonzero(self._population(finding, p))
            if len(rows):
                x = np.asarray(p.embeddings[rows], dtype=np.float64)
                weights[rows] = model if isinstance(model, float) else model.predict_proba(x)[:, 1]
        return found

    def _population(self, finding: Finding, p: Predictions) -> Bool[np.ndarray, " n"]:
        """The examples that the method judges, of the labels that the finding is confined to."""
        audited = audit_of(self.slices, p)
        rows = np.asarray(audited.rows, dtype=bool)
        if not finding.labels or audited.record.labels is None:
            return rows
        return rows & np.isin(audited.record.labels, _codes(audited.record.classes(), finding.labels))


def _codes(classes: Sequence[str], labels: Sequence[str]) -> list[int]:
    return [classes.index(label) for label in labels]


def _fitted(x: Float[np.ndarray, "m d"], members: Bool[np.ndarray, " m"]) -> Any:
    """A discriminant; or, where there are too few of either kind to tell apart, the one membership of all."""
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline

    inside = int(members.sum())
    if min(inside, len(members) - inside) < _FEWEST:
        return float(inside > len(members) / 2)
    steps = [LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")]
    if x.shape[1] > _COMPONENTS:
        steps.insert(0, PCA(min(_COMPONENTS, len(x)), random_state=0))
    return make_pipeline(*steps).fit(x.astype(np.float64), members)
