"""How sure a model is of its answers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from weakspot.tasks import Task

_VALUES = 1 << 24  # of the outputs at a time: they may be mapped from disk, and larger than memory


def confidences(
    task: Task | None, outputs: Float[np.ndarray, "n c"] | None
) -> Float[np.ndarray, " n"] | None:
    """Return the probability that a model gives its most likely answer for each example.

    Args:
        task: What the model predicts.
        outputs: (n, c) the logits.

    Returns:
        (n,) in [0, 1]; None if the outputs are unknown or the task has no probabilities.
    """
    if task is None or outputs is None:
        return None
    import torch

    rows = max(1, _VALUES // max(1, outputs.shape[1]))
    blocks = []
    for start in range(0, len(outputs), rows):
        # A copy: memory-mapped outputs are read-only, which torch does not support.
        block = task.confidence(torch.tensor(outputs[start : start + rows]))
        if block is None:
            return None
        blocks.append(np.asarray(block, dtype=np.float64))
    return np.concatenate(blocks) if blocks else np.empty(0)
