"""Hugging Face's classifiers of images and texts, split at their last linear layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from weakspot.models.base import setting_prefix
from weakspot.models.hub import HubModel, load_config, load_net
from weakspot.tasks import Task


class HubClassifier(HubModel):
    """Wraps a classifier of transformers; `net` is its own module, so that weights load either way.

    name       a folder, as `save_pretrained` writes it, or a name on the hub
    labels     what its outputs mean, in order; by default as in its configuration

    Outputs are put in the order of the task's classes, matched by name without regard to case. A network with other
    labels, or another number of them, keeps its body and gets a new head. If its labels are numbers ("LABEL_0", …),
    or most of them begin like the classes in their order ("tench, Tinca tinca"), its outputs are taken to be in the
    task's order. The embedding is what the last linear layer receives.

    Raises ValueError or FileNotFoundError, in one sentence, for a model that cannot be read.
    """

    order: Tensor

    def __init__(
        self, kind: Any, task: Task, name: str | Path, labels: Sequence[str] | None, download: bool
    ) -> None:
        super().__init__()
        named = _labels(load_config(name, download), labels)
        classes = task.classes or ("LABEL_0",)  # transformers' own name for the one output of a regression
        order = _match(named, classes)
        changes = {}
        if order is None:
            self.new_head = (
                f"{name} distinguishes {_some(named)}, not {_some(classes)}: it gets a new head; if its outputs do "
                "mean these classes, give their order (model.labels=[…])"
            )
            changes = {
                "num_labels": task.n_outputs,
                "id2label": dict(enumerate(classes)),
                "label2id": {label: index for index, label in enumerate(classes)},
            }
        self.net, new = load_net(kind, name, download, **changes)
        self._head_path = _last_linear(self.net, str(name), task.n_outputs)
        last = self.net.get_submodule(self._head_path)
        if order is None:  # the old head may have the same width
            last.reset_parameters()
        self.embedding_size = last.in_features
        self.head_is_trained = order is not None and not new
        # not saved: a checkpoint is transformers' own, and keeps its order
        self.register_buffer("order", torch.tensor(order or range(task.n_outputs)), persistent=False)
        self._checked = False

    def head(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        y: Tensor = self.net.get_submodule(self._head_path)(z)
        return y[:, self.order]

    def _check(self, given: Tensor, logits: Tensor) -> None:
        """Check once that the last layer's output is the network's output."""
        if not self._checked and not (given.shape == logits.shape and torch.equal(given, logits)):
            raise ValueError(
                f"{type(self.net).__name__} changes the output of its layer {self._head_path!r}, or reads other "
                "tokens; wrap it in a module of your own (docs/models.md)"
            )
        self._checked = True


def _labels(config: object, given: Sequence[str] | None) -> list[str]:
    stated: dict[int, str] = getattr(config, "id2label", {})
    named = [str(stated[index]) for index in sorted(stated)]
    if given is None:
        return named
    if len(given) != len(named):
        raise ValueError(
            f"{setting_prefix()}.labels names {len(given)} outputs, but the model has {len(named)}: {named}"
        )
    return list(map(str, given))


def _match(named: Sequence[str], classes: Sequence[str]) -> list[int] | None:
    """Return the index of the output of each class; None if the names do not determine it."""
    if len(named) != len(classes):
        return None
    if all(re.fullmatch(r"LABEL_\d+", label) for label in named):
        return list(range(len(classes)))
    class_names, output_names = ([name.strip().casefold() for name in names] for names in (classes, named))
    position = {label: index for index, label in enumerate(output_names)}
    indices = [position[name] for name in class_names if name in position]
    if len(set(indices)) == len(classes):
        return indices
    alike = sum(
        label.split(",")[0] == name.split(",")[0]
        for label, name in zip(output_names, class_names, strict=True)
    )
    return list(range(len(classes))) if alike > len(classes) / 2 else None


def _last_linear(net: nn.Module, name: str, width: int) -> str:
    """Return the path of the last linear layer with as many outputs as there are classes."""
    fitting: list[str] = [
        path
        for path, layer in net.named_modules()
        if isinstance(layer, nn.Linear) and layer.out_features == width
    ]
    if not fitting:
        raise ValueError(
            f"{name}, a {type(net).__name__}, has no linear layer of {width} outputs to end with"
        )
    return fitting[-1]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
