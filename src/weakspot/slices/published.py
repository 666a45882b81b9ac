"""Results of the published Spotlight tool as Slices, read without running what a pickle may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from weakspot.predictions import Predictions
from weakspot.predictions.published import read_fields
from weakspot.slices.record import Slices
from weakspot.slices.statistics import describe

_HISTORY = {
    "objective": ("loss", "loss_history"),
    "size": ("weight", "weight_history"),
    "learning_rate": ("lr", "lr_history"),
}


def read_spotlights(
    paths: Sequence[str | Path] | str | Path, predictions: Predictions | None = None
) -> Slices:
    """Slices from pickled `SpotlightResults` (or earlier dictionaries), one file per spotlight, in order.

    With the predictions that they were found in, ids and statistics come from there. The parameters that
    `membership` needs are kept where the files hold them and the kernel is the paper's: older versions of the
    tool wrote no centre, or used a Gaussian, which gives no example weight zero.

    Raises ValueError for a pickle that names anything else, for missing fields and for lengths that differ.
    """
    files = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    if not files:
        raise ValueError("no files: give the .pkl files that the published tool wrote, first spotlight first")
    results = [read_fields(path) for path in files]
    weights = _weights(files, results, predictions)
    if predictions is None:
        predictions = Predictions(np.arange(weights.shape[1]).astype(str), np.zeros((weights.shape[1], 1)))
    return Slices(
        method="spotlight",
        ids=predictions.ids,
        weights=weights,
        statistics=describe(weights, predictions),
        histories=[_history(result) for result in results],
        parameters=_parameters(results, weights),
        provenance={"source": [path.name for path in files], "predictions": predictions.manifest},
    )


def _weights(
    files: Sequence[Path], results: Sequence[Mapping[str, Any]], predictions: Predictions | None
) -> Float[np.ndarray, "k n"]:
    rows: list[np.ndarray] = []
    for path, result in zip(files, results, strict=True):
        found = result.get("unnormalized_weights", result.get("weights_unnorm"))
        if found is None:
            raise ValueError(f"{path} holds no unnormalized_weights, so it is no spotlight result")
        row = np.asarray(found, dtype=np.float64).ravel()
        n = len(rows[0]) if rows else len(row) if predictions is None else len(predictions)
        if len(row) != n:
            raise ValueError(f"{path} has weights for {len(row)} examples, but there are {n}")
        if not (np.isfinite(row).all() and (row >= 0).all() and (row <= 1).all()):
            raise ValueError(f"{path} holds weights outside 0…1")
        rows.append(row)
    return np.stack(rows)


def _history(result: Mapping[str, Any]) -> dict[str, np.ndarray]:
    told = {**result, **(result.get("training_history") or {})}
    found = {
        name: next((told[key] for key in keys if told.get(key) is not None), None)
        for name, keys in _HISTORY.items()
    }
    return {
        name: np.asarray(values, dtype=np.float64) for name, values in found.items() if values is not None
    }


def _parameters(
    results: Sequence[Mapping[str, Any]], weights: Float[np.ndarray, "k n"]
) -> dict[str, np.ndarray]:
    centres = [result.get("spotlight_mean") for result in results]
    matrices = [result.get("spotlight_precision") for result in results]
    compact = bool((weights == 0).any(axis=1).all())
    if not compact or any(part is None for part in (*centres, *matrices)):
        return {}
    precisions = np.stack([np.asarray(matrix, dtype=np.float64) for matrix in matrices])
    scales = precisions[:, 0, 0]
    if (precisions == scales[:, None, None] * np.eye(precisions.shape[1])).all():
        precisions = scales
    return {"centers": np.stack([np.asarray(m, dtype=np.float64) for m in centres]), "precisions": precisions}
