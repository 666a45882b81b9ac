"""Findings do not depend on the order of the examples in a record."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from weakspot import UDIS, Findings, Predictions, Scan, Spotlight
from weakspot.findings import extent, region_names
from weakspot.methods import Method
from weakspot.pipeline.search import search
from weakspot.tasks import Classification, Regression

N = 900
METHODS = {
    "scan": lambda: Scan(draws=0),
    "spotlight": lambda: Spotlight(steps=300),
    "udis": UDIS,
}


def record(kind: str, order: np.ndarray, counted: bool) -> Predictions:
    """Four groups for each of three labels, one of which fails; every third example has a copy with another id."""
    rng = np.random.default_rng(5)
    labels, part = rng.integers(0, 3, N), rng.integers(0, 4, N)
    x = 1.5 * rng.normal(size=(3, 12))[labels] + rng.normal(size=(3, 4, 12))[labels, part]
    x = (x + rng.normal(size=(N, 12))).astype(np.float32)
    x[::3] = x[1::3]
    labels[::3], part[::3] = labels[1::3], part[1::3]
    failing = (labels == 0) & (part == 0)
    counts = rng.integers(1, 6, N)[order] if counted else None
    names = np.array([f"example {i}" for i in range(N)])[order]
    attributes = {"part": part.astype(str)[order], "size": (part + rng.normal(size=N)).round(2)[order]}
    more: dict[str, Any] = {"ids": names, "attributes": attributes, "counts": counts}
    if kind == "numbers":
        truth = x[:, 0].astype(np.float64)
        told = truth + rng.standard_t(4, N) * np.where(failing, 3, 1)
        return Predictions.from_arrays(
            x[order], labels=truth[order], outputs=told[order], task=Regression(), **more
        )
    outputs = rng.normal(size=(N, 3))
    favoured = np.where(rng.random(N) < np.where(failing, 0.6, 0.15), (labels + 1) % 3, labels)
    outputs[np.arange(N), favoured] = outputs.max(axis=1) + rng.exponential(2, N)
    task = Classification(("a", "b", "c"))
    return Predictions.from_arrays(x[order], labels=labels[order], outputs=outputs[order], task=task, **more)


def told(p: Predictions, method: Method) -> tuple[list[dict[str, Any]], dict[tuple[str, int, str], float]]:
    """Return the contents of the findings, and the weight of every member by its id.

    Row and node numbers are left out, and so are the examples shown, which may be any of equally bad ones.
    """
    run = search(method, p, confirm=0.5)
    findings = Findings.build(
        p, run.slices, confirm=run.confirm, source=run.source, created=datetime(2026, 1, 1), projection="none"
    )
    said = [asdict(one) for one in (*findings.findings, *findings.slices)]
    for one in said:
        one.pop("top_examples", None)
        one.pop("neighbours", None)
        if "statistics" in one:
            one["statistics"].pop("cluster")
        one["portrait"].pop("top")
        one["portrait"].pop("weights")
    table = findings.memberships.to_pylist()
    return said, {(row["group"], row["number"], row["id"]): row["weight"] for row in table}


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two records differ by more than 1e-9."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [text for key in one for text in differences(one[key], other[key], f"{place}.{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [text for i, pair in pairs for text in differences(*pair, f"{place}[{i}]")]
    if isinstance(one, float) and isinstance(other, float):
        same = one == pytest.approx(other, rel=1e-9, abs=1e-9, nan_ok=True)
    else:
        same = one == other
    return [] if same else [f"{place}: {one} or {other}"]


@pytest.mark.parametrize("counted", [False, True], ids=["plain", "counts"])
@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("scan", "classes"),
        ("scan", "numbers"),
        ("spotlight", "classes"),
        ("spotlight", "numbers"),
        ("udis", "classes"),
    ],
)
def test_permuted_rows_give_the_same_findings(method: str, kind: str, counted: bool) -> None:
    said, members = told(record(kind, np.arange(N), counted), METHODS[method]())
    assert said
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(N)
        said_of_permuted, permuted_members = told(record(kind, order, counted), METHODS[method]())
        assert differences(said, said_of_permuted) == []
        assert differences(members, permuted_members) == []


def test_some_of_these_findings_are_confirmed_and_extended() -> None:
    """Memberships in an extended finding are shares of 32 thresholds."""
    said, members = told(record("classes", np.arange(N), counted=False), Scan(draws=0))
    confirmed = [one["number"] for one in said if one.get("verdict") == "confirmed"]
    assert confirmed
    shares = [
        {32 * weight for (group, number, _), weight in members.items() if (group, number) == ("finding", one)}
        for one in confirmed
    ]
    extended = [of_finding for of_finding in shares if all(share.is_integer() for share in of_finding)]
    assert any(0 < share < 32 for of_finding in extended for share in of_finding)


def test_permuted_rows_give_the_same_findings_if_only_a_sample_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extent, "_MOST_ROWS", 300)
    monkeypatch.setattr(region_names, "_MOST_ROWS", 400)
    said, members = told(record("classes", np.arange(N), counted=False), Scan(draws=0))
    order = np.random.default_rng(0).permutation(N)
    said_of_permuted, permuted_members = told(record("classes", order, counted=False), Scan(draws=0))
    assert differences(said, said_of_permuted) == []
    assert differences(members, permuted_members) == []
