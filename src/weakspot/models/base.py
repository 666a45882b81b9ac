"""What a model is: an embedding and the head that reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from difflib import get_close_matches
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from weakspot.identity import Identified


class Model(Identified, nn.Module, ABC):
    """A network split where discovery looks at it: `model(x) == head(embed(x))`.

    The embedding is what the last layer receives, so that examples close to each other in it are alike in
    the eyes of the model, and every error the model makes is a function of it. A model that says something of
    every token, and so has no single embedding that its outputs follow from, overrides `read` instead.

    What a model makes is kept under its class, its settings (files by what is in them) and its weights. Settings
    that change no result are named in `no_difference`.
    """

    no_difference = frozenset({"download"})

    embedding_size: int
    """Width d of the embedding."""

    head_is_trained: bool | None = None
    """False where the head is random: such a model has nothing to say before it is trained. None where the model
    does not know: if it is asked to serve as it is, it is built twice, as random weights then differ."""

    channels_last: bool = False
    """Whether inference lays its images with the channels last in memory, where convolutions are fastest; their shape
    stays (n, 3, H, W). Networks that call `view` on maps refuse such, so each class says for itself."""

    @property
    @abstractmethod
    def cam_layer(self) -> nn.Module | None:
        """The module whose output Grad-CAM weighs: maps (n, c, h, w) or (n, h, w, c), or tokens (n, t, c) whose
        last ones are the patches, row by row. None where the model has no such layer."""

    @abstractmethod
    def embed(self, x: Any) -> Float[Tensor, "n d"]:
        """What the head receives; `x` is a batch of what the dataset's `input` gives: images (n, 3, H, W), or
        a mapping of tensors."""

    @abstractmethod
    def head(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        """Outputs as the task reads them (logits)."""

    def read(self, x: Any) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        """Embeddings and outputs, from one pass."""
        z = self.embed(x)
        return z, self.head(z)

    def forward(self, x: Any) -> Float[Tensor, "n C"]:
        return self.read(x)[1]

    def auxiliary(self) -> list[tuple[float, Float[Tensor, "n C"]]]:
        """What further heads said in the last pass of training, each with the weight of its loss beside the
        model's own; handed over once. Few models have any."""
        return []


def find_layer(net: nn.Module, path: str, role: str, owner: str) -> nn.Module:
    """The module of `net` at `path`, which a setting `role` names.

    Raises ValueError, with near names, where `owner` has no such module.
    """
    modules: dict[str, nn.Module] = dict(net.named_modules())
    if not path or path not in modules:
        weighing = [name for name, module in modules.items() if isinstance(module, nn.Linear | nn.Conv2d)]
        near = get_close_matches(path, modules, n=3) or weighing[-3:]
        raise ValueError(f"{owner} has no module {path!r} to be its {role}; it has {', '.join(near)}")
    return modules[path]


def record_head(net: nn.Module, head: nn.Module, *x: Tensor, **named: Tensor) -> tuple[Tensor, Tensor, Any]:
    """Run `net` once, on `x`; return what its part `head` received, what it gave, and what the whole returned.

    The hook lives for this call only, so that the network stays as it was: copied, saved and compiled alike.
    Raises ValueError where the head is not called exactly once, on a single tensor.
    """
    calls: list[tuple[Any, Any]] = []
    hook = head.register_forward_hook(lambda _module, received, given: calls.append((received, given)))
    try:
        returned = net(*x, **named)
    finally:
        hook.remove()
    if len(calls) != 1:
        raise ValueError(
            f"the head of {type(net).__name__} is called {len(calls)} times in a forward pass, not once"
        )
    received, given = calls[0]
    if len(received) != 1 or not isinstance(received[0], Tensor) or not isinstance(given, Tensor):
        raise ValueError(f"the head of {type(net).__name__} must take one tensor and give one")
    return received[0], given, returned
