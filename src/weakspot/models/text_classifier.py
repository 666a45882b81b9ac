"""Any of Hugging Face's sequence classifiers, split at its last linear layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from weakspot.models.base import record_head
from weakspot.models.hub import accepted_tensors
from weakspot.models.hub_classifier import HubClassifier
from weakspot.tasks import Task


class TextClassifier(HubClassifier):
    """Classifies texts; see `HubClassifier` for its settings and the order of its outputs.

    The embedding is what the last linear layer receives: for DistilBERT, the [CLS] token after the
    pre-classifier and its ReLU. Networks that read left to right are read at the last token of each text.
    """

    def __init__(
        self,
        task: Task,
        name: str | Path,
        labels: Sequence[str] | None = None,
        download: bool = False,
    ) -> None:
        from transformers import AutoModelForSequenceClassification

        super().__init__(AutoModelForSequenceClassification, task, name, labels, download)

    @property
    def cam_layer(self) -> None:
        return None

    def embed(self, x: Mapping[str, Tensor]) -> Float[Tensor, "n d"]:
        """Embed `input_ids`, `attention_mask` and whatever else the network takes, each (n, t)."""
        last = self.net.get_submodule(self._head_path)
        received, given, returned = record_head(self.net, last, **accepted_tensors(self.net, x))
        if received.ndim == 3:
            positions = torch.arange(received.shape[1], device=received.device)
            ends = (x["attention_mask"] * positions).argmax(dim=1)
            rows = torch.arange(len(ends), device=received.device)
            received, given = received[rows, ends], given[rows, ends]
        self._check(given, returned.logits)
        return received
