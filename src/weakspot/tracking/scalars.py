"""The numbers of a run, for comparing runs."""

from __future__ import annotations

from typing import Any

from weakspot.findings import Finding, Findings
from weakspot.findings.entries import Slice


def scalars(findings: Findings) -> dict[str, float]:
    """Return the numbers by which runs are compared.

    They are `test/accuracy` and `test/loss` (named after the audited split), `n_slices`, `confirmed/n`,
    `confirmed/errors_explained` (the share of all errors in the confirmed finding that explains most), `worst/gap` (the
    largest held-out accuracy gap of a confirmed finding), `whole/…`, `finding_1/…` and `slice_1/…`.
    """
    found: dict[str, float | None] = {
        "whole/accuracy": findings.whole.accuracy,
        "whole/loss": findings.whole.loss,
        f"whole/{findings.whole.measure}": findings.whole.accuracy
        if findings.whole.error is None
        else findings.whole.error,
        "n_slices": len(findings.slices),
    }
    found |= _of_split(findings)
    confirmed = [finding for finding in findings.findings if finding.confirmed]
    found["confirmed/n"] = len(confirmed)
    found["confirmed/errors_explained"] = max((f.errors_explained or 0.0 for f in confirmed), default=0.0)
    found["worst/gap"] = max((_gap(finding) for finding in confirmed), default=0.0)
    for finding in findings.findings:
        found |= {
            f"finding_{finding.number}/{name}": value for name, value in finding_scalars(finding).items()
        }
    for one in findings.slices:
        found |= {f"slice_{one.number}/{name}": value for name, value in slice_scalars(one, findings).items()}
        found[f"slice_{one.number}/p"] = one.evidence.p
        found[f"slice_{one.number}/p_corrected"] = one.evidence.p_corrected
        found[f"slice_{one.number}/p_searched"] = one.p_searched
    return {name: float(value) for name, value in found.items() if value is not None}


def _of_split(findings: Findings) -> dict[str, float | None]:
    """Return what `infer.py` logs for the split, under the same names; nothing if only one category is audited."""
    whole, split = findings.whole, findings.split or "test"
    if whole.category is not None:
        return {}
    measure = whole.accuracy if whole.error is None else whole.error
    return {f"{split}/loss": whole.loss, f"{split}/{whole.measure}": measure}


def slice_scalars(one: Slice, findings: Findings) -> dict[str, float | None]:
    """Return a slice's numbers over all audited examples, by name, in the measure of the task."""
    s, error = one.statistics, one.error
    found: dict[str, float | None] = {"size": s.size, "share": s.share, "members": s.members}
    found |= {"loss_inside": s.loss_inside, "loss_outside": s.loss_outside}
    if findings.whole.error is None:
        return found | {"accuracy_inside": s.accuracy_inside, "accuracy_outside": s.accuracy_outside}
    if error is None:
        return found
    return found | {"error_inside": error.inside, "error_outside": error.outside}


def _gap(finding: Finding) -> float:
    accuracy = finding.accuracy
    return 0.0 if accuracy is None or accuracy.outside is None else abs(accuracy.outside - accuracy.inside)


def finding_scalars(finding: Finding) -> dict[str, Any]:
    """Return a finding's numbers by name."""
    found: dict[str, Any] = {
        "examples": finding.examples,
        "held_out": finding.held_out,
        "errors_explained": finding.errors_explained,
        "p": finding.p,
        "p_corrected": finding.p_corrected,
    }
    for name in ("accuracy", "confidence", "loss", "error", "bias"):
        contrast = getattr(finding, name)
        if contrast is not None:
            found |= {f"{name}_inside": contrast.inside, f"{name}_outside": contrast.outside}
            if contrast.interval is not None:
                found |= {f"{name}_low": contrast.interval[0], f"{name}_high": contrast.interval[1]}
    return found
