"""A reader that turns the published Spotlight tool's results into Slices and runs no code from the pickles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from weakspot.predictions import Predictions
from weakspot.predictions.reading import DamagedError, reading
from weakspot.predictions.spotlight_inference import field, read_fields
from weakspot.slices.record import Slices
from weakspot.slices.statistics import describe

_WEIGHTS = ("unnormalized_weights", "weights_unnorm")
_HISTORY = {
    "objective": ("loss", "loss_history"),
    "size": ("weight", "weight_history"),
    "learning_rate": ("lr", "lr_history"),
}


def read_spotlights(
    paths: Sequence[str | Path] | str | Path, predictions: Predictions | None = None
) -> Slices:
    """Return the slices in pickled `SpotlightResults` (or earlier dictionaries), one file for each spotlight, in order.

    The parameters that `membership` needs are taken if the files hold them and the kernel is the paper's: older
    versions of the tool wrote no centre, or used a Gaussian kernel, which gives no example a weight of zero.

    Args:
        paths: The files, the first spotlight first.
        predictions: The predictions that the spotlights were found in, which give ids and statistics; without
            them, ids are row numbers and sizes are the only statistics.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A pickle names anything else, a field is missing, or lengths differ.
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
        histories=[_history(path, result) for path, result in zip(files, results, strict=True)],
        parameters=_parameters(files, results, weights),
        provenance={"source": [path.name for path in files], "predictions": predictions.provenance},
    )


@np.errstate(invalid="ignore")  # a signalling NaN is refused like any other, without a warning
def _weights(
    files: Sequence[Path], results: Sequence[Mapping[str, Any]], predictions: Predictions | None
) -> Float[np.ndarray, "k n"]:
    rows: list[np.ndarray] = []
    for path, result in zip(files, results, strict=True):
        values = next(
            (values for name in _WEIGHTS if (values := field(path, result, name)) is not None), None
        )
        if values is None:
            inference = (
                "; it is an inference result: give it as predictions=" if "embeddings" in result else ""
            )
            raise DamagedError(f"{path} has no {_WEIGHTS[0]}, so it is not a spotlight result{inference}")
        row = values.astype(np.float64).ravel()
        n = len(rows[0]) if rows else len(row) if predictions is None else len(predictions)
        if len(row) != n:
            raise DamagedError(
                f"{path} has weights for {len(row)} examples, but there are {n}; give files of the same predictions"
            )
        if not len(row) or not (np.isfinite(row).all() and (row >= 0).all() and (row <= 1).all()):
            raise DamagedError(f"{path} holds weights outside 0…1, or none")
        rows.append(row)
    return np.stack(rows)


@np.errstate(invalid="ignore")  # a signalling NaN gives no warning, like a quiet one
def _history(path: Path, result: Mapping[str, Any]) -> dict[str, np.ndarray]:
    nested = result.get("training_history")
    fields = {**result, **(nested if isinstance(nested, dict) else {})}
    history = {}
    for name, keys in _HISTORY.items():
        values = next((values for key in keys if (values := field(path, fields, key)) is not None), None)
        if values is not None:
            with reading(path, name):
                if values.ndim != 1:
                    raise ValueError(f"it must be one number for each step, not of shape {values.shape}")
            history[name] = values.astype(np.float64)
    return history


def _parameters(
    files: Sequence[Path], results: Sequence[Mapping[str, Any]], weights: Float[np.ndarray, "k n"]
) -> dict[str, np.ndarray]:
    if not (weights == 0).any(axis=1).all():
        return {}  # another kernel than the paper's gives every example some weight
    centers: list[np.ndarray] = []
    matrices: list[np.ndarray] = []
    for path, result in zip(files, results, strict=True):
        centre, matrix = field(path, result, "spotlight_mean"), field(path, result, "spotlight_precision")
        if centre is None or matrix is None:
            return {}
        width = centers[0].shape if centers else centre.shape
        fits = len(width) == 1 and width != (0,) and centre.shape == width and matrix.shape == width * 2
        if not fits or not (np.isfinite(centre).all() and np.isfinite(matrix).all()):
            raise DamagedError(
                f"{path} has a centre of shape {centre.shape} and a precision of shape {matrix.shape}, "
                "but spotlights have (d,) and (d, d), d the same for all, and finite numbers"
            )
        centers.append(centre.astype(np.float64))
        matrices.append(matrix.astype(np.float64))
    precisions = np.stack(matrices)
    scales = precisions[:, 0, 0]
    if (precisions == scales[:, None, None] * np.eye(precisions.shape[1])).all():
        precisions = scales
    return {"centers": np.stack(centers), "precisions": precisions}
