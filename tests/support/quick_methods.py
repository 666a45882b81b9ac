"""Every method with settings that are quick on small data: a new method adds a row to `METHODS`."""

from __future__ import annotations

from typing import Any

import pytest

from weakspot.methods import Method, find

METHODS: dict[str, dict[str, Any]] = {
    "barlow": {"n_slices": 2, "min_size": 5},
    "confusion": {"n_slices": 2},
    "domino": {"n_mixture": 8, "n_slices": 2},
    "george": {"n_slices": 2, "n_components": 5, "min_size": 5},
    "gmm": {"n_components": 6, "n_slices": 2, "min_size": 5},
    "kmeans": {"n_clusters": 6, "n_slices": 2, "min_size": 5},
    "multiaccuracy": {"n_slices": 2},
    "planespot": {"n_slices": 2, "max_components": 6},
    "random": {"n_slices": 2, "share": 0.1},
    "rules": {"n_slices": 2, "min_size": 5, "attributes": ["group"]},
    "scan": {"sizes": [8, 16], "n_slices": 2, "draws": 19},
    "spotlight": {"n_slices": 2, "min_size": 0.08, "starts": 2},
    "top_loss": {"share": 0.1},
    "udis": {"min_cluster_size": 4, "max_cluster_size": 40},
}
"""Settings by method name that are quick on small data."""


every = pytest.mark.parametrize("word", METHODS)


def made(word: str, **more: Any) -> Method:
    return find(word)(**METHODS[word] | more)
