"""Any of Hugging Face's models that answer a question by a span of a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from weakspot.models.base import record_head, setting_prefix
from weakspot.models.hub import HubModel, accepted_tensors, load_net
from weakspot.tasks import QuestionAnswering, Task


class QAModel(HubModel):
    """Predicts which token of a text begins the answer, and which ends it.

    The embedding is the [CLS] token of the last hidden state, as in the Spotlight paper. The outputs of all
    tokens do not follow from it: embeddings and outputs come from one pass (`read`), and there is no head.

    The mask `answerable` (n, t) of a batch marks the tokens that an answer may begin or end at; the others, and
    padding up to the task's length, get `QuestionAnswering.NOWHERE`.

    name   a folder, as `save_pretrained` writes it, or a name on the hub

    Raises ValueError or FileNotFoundError, in one sentence, for a model that cannot be read, and ValueError for a
    task other than question answering.
    """

    def __init__(self, task: Task, name: str | Path, download: bool = False) -> None:
        super().__init__()
        if not isinstance(task, QuestionAnswering):
            key = setting_prefix()
            raise ValueError(
                f"{key}=qa answers questions, but the task is {task.kind}; use {key}=text_classifier"
            )
        from transformers import AutoModelForQuestionAnswering

        self.net, new = load_net(AutoModelForQuestionAnswering, name, download)
        self.length = task.length
        longest = getattr(self.net.config, "max_position_embeddings", task.length)
        if longest < task.length:
            raise ValueError(
                f"{name} reads {longest} tokens at most, not {task.length}; set dataset.max_length"
            )
        pairs = [
            path
            for path, layer in self.net.named_modules()
            if isinstance(layer, nn.Linear) and layer.out_features == 2
        ]
        if not pairs:
            raise ValueError(
                f"{name}, a {type(self.net).__name__}, has no linear layer that outputs first and last token"
            )
        self._head_path = pairs[-1]
        self.embedding_size = self.net.get_submodule(self._head_path).in_features
        self.head_is_trained = not new

    @property
    def cam_layer(self) -> None:
        return None

    def read(self, x: Mapping[str, Tensor]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        """Return [CLS] (n, d), and logits of the first and the last token of the answer (n, 2 · length)."""
        last = self.net.get_submodule(self._head_path)
        received, _, returned = record_head(self.net, last, **accepted_tensors(self.net, x))
        outside = ~x["answerable"]
        missing = self.length - outside.shape[1]
        ends = [
            nn.functional.pad(
                logits.masked_fill(outside, QuestionAnswering.NOWHERE),
                (0, missing),
                value=QuestionAnswering.NOWHERE,
            )
            for logits in (returned.start_logits, returned.end_logits)
        ]
        return received[:, 0], torch.cat(ends, dim=1)

    def embed(self, x: Mapping[str, Tensor]) -> Float[Tensor, "n d"]:
        return self.read(x)[0]

    def head(self, z: Float[Tensor, "n d"]) -> NoReturn:
        raise TypeError(
            "the outputs of a QA model do not follow from its embedding; call read(x), or the model"
        )
