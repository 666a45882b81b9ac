"""Products of float32 matrices in float32, whatever the caller allows elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_products() -> Iterator[None]:
    """Allow neither TF32 nor bfloat16, by setting or by autocast: bounds and tolerances expect float32's rounding."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(allowed)
