"""Domino's own code, as a row beside ours: from a checkout of https://github.com/HazyResearch/domino.

    git clone https://github.com/HazyResearch/domino
    DOMINO=domino python benchmarks/planted_slices.py --split report --methods scan domino "domino, authors' code"

Only its mixture is imported. The package itself imports Meerkat and CLIP, which the mixture needs for annotations
alone, and tkinter, which it does not need at all: empty modules stand in for them. pandas must be installed.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import types
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from planted.cases import Case

CHECKOUT = "DOMINO"  # the environment variable that names it


def domino_authors(case: Case, seed: int) -> Float[np.ndarray, "m k"]:
    """Fit on val with the paper's weights (10 and 10) and the code's own k-means start; score test examples."""
    val, test = case.val, case.test
    mixture = _slicer()(
        n_pca_components=min(128, *val.embeddings.shape),
        y_log_likelihood_weight=10,
        y_hat_log_likelihood_weight=10,
        random_state=seed,
    )
    for p, call in ((val, mixture.fit), (test, mixture.predict_proba)):
        with redirect_stderr(io.StringIO()):  # hides a progress bar for each of hundreds of settings
            found = call(
                embeddings=p.embeddings.astype(np.float64),
                targets=p.labels,
                pred_probs=softmax(p.outputs.astype(np.float64), axis=1),
            )
    return np.asarray(found, dtype=np.float64)


def _slicer() -> Any:
    if "domino._slice.mixture" not in sys.modules:
        checkout = Path(os.environ[CHECKOUT]) / "domino"
        if not (checkout / "_slice" / "mixture").is_dir():
            sys.exit(f"{CHECKOUT}={os.environ[CHECKOUT]} is not a checkout of HazyResearch/domino")
        for name, holds in (
            ("meerkat", {"DataFrame": object, "Column": type("Column", (), {})}),
            ("tkinter", {"Variable": object}),
            ("domino", {"__path__": [str(checkout)]}),
        ):
            sys.modules[name] = module = types.ModuleType(name)
            vars(module).update(holds)
        np.infty = np.inf  # its name before NumPy 2
    return importlib.import_module("domino._slice.mixture").MixtureSlicer
