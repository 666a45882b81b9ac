"""Lightning without its advertisements."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advertisements, and without its advice that does not apply to small data in memory."""
    import lightning_fabric
    import pytorch_lightning

    # imported before their loggers are silenced: they set the levels while they are
    talkers = [logging.getLogger(one.__name__) for one in (pytorch_lightning, lightning_fabric)]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for advice in (
                "does not have many workers",
                "The number of training batches",
                "Checkpoint directory .* exists",
                "Found .* in eval mode",  # a frozen encoder is meant to be
                "`isinstance.treespec, LeafSpec.` is deprecated",
            ):
                warnings.filterwarnings("ignore", f".*{advice}")
            yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)
