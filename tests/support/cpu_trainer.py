"""A Lightning trainer that is silent and stays on the CPU."""

from __future__ import annotations

import functools

from pytorch_lightning import Trainer

CPU = functools.partial(Trainer, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)
