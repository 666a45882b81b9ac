"""The contract of a model: an embedding, and a head that computes the outputs from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from weakspot.identity import Identifiable

_LISTED = 8  # parts of a network in a message
_SETTING_PREFIX = ContextVar("setting_prefix", default="model")


class Model(Identifiable, nn.Module, ABC):
    """Represents a network that is split before its last layer: `model(x) == head(embed(x))`.

    The embedding is the input of the last layer, so that examples close to each other in it are similar to the
    model, and every error of the model is a function of it. A model with outputs for every token, which do not follow
    from a single embedding, overrides `read` instead.

    Predictions are cached under the class, its settings (files by their content) and its weights. Settings that
    change no result are named in `no_difference`.
    """

    no_difference = frozenset({"download"})

    embedding_size: int
    """Width d of the embedding."""

    head_is_trained: bool | None = None
    """Whether the head has trained weights; a model with a random one must be trained first. None if the model
    does not know: it is then built twice, as random weights differ."""

    new_head: str | None = None
    """A sentence on why the head of the given weights is not used; None if it is used, or there is none."""

    channels_last: bool = False
    """Whether inference stores images with the channels last in memory, which is fastest for convolutions; their shape
    stays (n, 3, H, W). Networks that call `view` on feature maps cannot take such images, so it is off by default."""

    @property
    @abstractmethod
    def cam_layer(self) -> nn.Module | None:
        """The module whose output Grad-CAM weights; None if the model has no such layer.

        Its output is feature maps (n, c, h, w) or (n, h, w, c), or tokens (n, t, c) of which the last are the
        patches, row by row.
        """

    @abstractmethod
    def embed(self, x: Any) -> Float[Tensor, "n d"]:
        """Return the head's input for a batch of the dataset's inputs: images (n, 3, H, W) or a mapping of tensors."""

    @abstractmethod
    def head(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        """Return the outputs (logits) for embeddings."""

    def read(self, x: Any) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n C"]]:
        """Return embeddings and outputs, computed in one pass."""
        z = self.embed(x)
        return z, self.head(z)

    def forward(self, x: Any) -> Float[Tensor, "n C"]:
        return self.read(x)[1]

    def auxiliary(self) -> list[tuple[float, Float[Tensor, "n C"]]]:
        """Return the outputs of auxiliary heads in the last training pass, each with the weight of its loss.

        They are returned once; few models have any.
        """
        return []


def setting_prefix() -> str:
    """Return the word that the network being built has on the command line: model or encoder, whose settings are
    called `model.weights` or `encoder.weights`.
    """
    return _SETTING_PREFIX.get()


@contextmanager
def use_setting_prefix(prefix: str) -> Iterator[None]:
    """Make messages call the networks that are built inside the block `prefix`, as the command line does."""
    token = _SETTING_PREFIX.set(prefix)
    try:
        yield
    finally:
        _SETTING_PREFIX.reset(token)


def find_layer(net: nn.Module, path: str, role: str, owner: str) -> nn.Module:
    """Return the module of `net` at a path.

    Args:
        net: The network.
        path: The module's name in it, such as "layer4".
        role: The setting that gives the path, for the error.
        owner: What the network is called in the error.

    Raises:
        ValueError: If there is no such module; the message lists similar names, or the parts of the network.
    """
    modules: dict[str, nn.Module] = dict(net.named_modules())
    if not path or path not in modules:
        weighing = [name for name, module in modules.items() if isinstance(module, nn.Linear | nn.Conv2d)]
        parts = [name for name, _ in net.named_children()][:_LISTED]
        near = get_close_matches(path, modules, n=3) or dict.fromkeys([*parts, *weighing[-3:]])
        raise ValueError(f"{owner} has no module {path!r} to be its {role}; it has {', '.join(near)}")
    return modules[path]


def record_head(net: nn.Module, head: nn.Module, *x: Tensor, **named: Tensor) -> tuple[Tensor, Tensor, Any]:
    """Run `net` once, and record the input and the output of its module `head`.

    The hook exists during this call only, so that the network can be copied, saved and compiled as before.

    Returns:
        The head's input, its output, and the output of the whole network.

    Raises:
        ValueError: If the head is not called exactly once, on a single tensor.
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
        raise ValueError(f"the head of {type(net).__name__} must take one tensor and return one")
    return received[0], given, returned
