"""Your own network, given by its import path and split at the named head."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from weakspot.identity import source_digest
from weakspot.models.base import Model, find_layer, record_head, setting_prefix
from weakspot.tasks import Task

_WIDTH_NAMES = ("num_classes", "n_outputs")
_ONE_AUXILIARY = 0.4  # Szegedy et al. 2016: Inception-v3
_AUXILIARY = 0.3  # Szegedy et al. 2015: GoogLeNet


class UserModel(Model):
    """Wraps what `path` ("package.module:Name", a class or a factory) returns when called with `kwargs`.

    The number of outputs is passed as `num_classes` or `n_outputs` if the signature has such a parameter, or passes
    keyword arguments on to one that has. The embedding is what the module at `head` ("fc", "classifier.6") receives,
    so nothing that follows may change its output: this is checked on the first batch, once in training and once in
    evaluation. For two classes, the head may give one logit, that of the second.
    `cam_layer` names the module that Grad-CAM uses. Modules in the current folder can be imported.

    Raises ValueError if a name does not exist, `path` does not make a module, the head does not have C outputs, or
    something follows it (a softmax, say).
    """

    no_difference = Model.no_difference | {"cam_layer"}

    def __init__(
        self,
        task: Task,
        path: str,
        head: str = "fc",
        cam_layer: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        factory = imported(path)
        # in float32, however it is built: the trainer decides the precision (trainer.precision)
        self.net = _build(factory, path, task.n_outputs, dict(kwargs or {})).float()
        self.path, self._head_path, self._cam_path = path, head, cam_layer
        self._n_outputs = task.n_outputs
        self._checked: set[bool] = set()
        self._further: list[Tensor] = []
        self.embedding_size = _width_received(find_layer(self.net, head, "head", path), head, path)
        if cam_layer is not None:
            find_layer(self.net, cam_layer, "cam_layer", path)

    @classmethod
    def identity(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Add the digest of the network's source: an edited network is another network."""
        return {**super().identity(settings), "network": source_digest(imported(settings["path"]))}

    @property
    def cam_layer(self) -> nn.Module | None:
        return None if self._cam_path is None else self.net.get_submodule(self._cam_path)

    def embed(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d"]:
        received, given, returned = record_head(self.net, self.net.get_submodule(self._head_path), x)
        first, *further = returned if isinstance(returned, tuple | list) and len(returned) else [returned]
        if self.training not in self._checked:
            self._check(received, given, first)
            self._checked.add(self.training)
        self._further = [y for y in further if self.training and _is_like(y, given)]
        return received

    def head(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        return self._two_logits(self.net.get_submodule(self._head_path)(z))

    def auxiliary(self) -> list[tuple[float, Float[Tensor, "n C"]]]:
        further, self._further = self._further, []
        weight = _ONE_AUXILIARY if len(further) == 1 else _AUXILIARY
        return [(weight, self._two_logits(y)) for y in further]

    def _two_logits(self, y: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(y), y], dim=1) if self._gives_one_logit(y) else y

    def _gives_one_logit(self, given: Tensor) -> bool:
        """Return whether the head gives one logit for two classes: that of the second, z, which is read as (0, z)."""
        return self._n_outputs == 2 and given.ndim == 2 and given.shape[1] == 1

    def _check(self, received: Tensor, given: Tensor, returned: Any) -> None:
        where = f"the head {self._head_path!r} of {self.path}"
        if received.ndim != 2 or received.shape[1] != self.embedding_size:
            raise ValueError(
                f"{where} receives {tuple(received.shape)}, not a vector of {self.embedding_size} per image; "
                "name the last linear layer"
            )
        if given.shape != (len(received), self._n_outputs) and not self._gives_one_logit(given):
            raise ValueError(
                f"{where} gives {tuple(given.shape)}, but the task has {self._n_outputs} classes: "
                f"expected {(len(received), self._n_outputs)}"
            )
        if not isinstance(returned, Tensor):
            raise ValueError(
                f"{self.path} returns a {type(returned).__name__}, not the tensor of its outputs"
            )
        if self._gives_one_logit(given) and returned.shape == (len(given),):
            returned = returned[:, None]
        same = returned.shape == given.shape and torch.allclose(
            returned, given, rtol=0, atol=0, equal_nan=True
        )
        if not same:
            raise ValueError(
                f"{self.path} changes the output of its head {self._head_path!r} before returning it "
                "(a softmax, say); return the head's output (logits), or name the module that comes last"
            )


def _is_like(y: object, given: Tensor) -> bool:
    return isinstance(y, Tensor) and y.shape == given.shape


def imported(path: str) -> Callable[..., Any]:
    """Return the class or factory `package.module:Name`, from the current folder or installed.

    Raises:
        ValueError: If the name does not exist, or cannot make a module.
    """
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name):
        raise ValueError(f"a model's path is written package.module:Name, not {path!r}")
    here = str(Path.cwd())
    if here not in sys.path[:1]:  # as `python -m` does; console scripts leave it out
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ValueError(
                f"no module {error.name!r} for the model {path!r} in {here} or installed"
            ) from None
        raise
    target: object = module
    for part in name.split("."):
        if not hasattr(target, part):
            near = get_close_matches(part, [entry for entry in dir(target) if not entry.startswith("_")])
            raise ValueError(
                f"{module.__file__} has no {name!r}" + (f"; nearest: {', '.join(near)}" if near else "")
            )
        target = getattr(target, part)
    if isinstance(target, nn.Module) or not callable(target):
        raise ValueError(f"{path} is a {type(target).__name__}, not a class or function that makes a module")
    return target


def _build(factory: Callable[..., Any], path: str, n_outputs: int, kwargs: dict[str, Any]) -> nn.Module:
    try:
        signature = inspect.signature(factory)
    except ValueError as error:
        raise ValueError(f"{path} cannot be called with named arguments: {error}") from None
    width = next((name for name in _WIDTH_NAMES if name in signature.parameters), None)
    if width is not None:
        kwargs.setdefault(width, n_outputs)
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        raise ValueError(f"{path}{signature} cannot be called with kwargs={kwargs}: {error}") from None
    passes_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    passes_blindly = passes_on and not any(name in kwargs for name in _WIDTH_NAMES)
    net: object = _call(factory, path, kwargs, n_outputs) if passes_blindly else factory(**kwargs)
    if not isinstance(net, nn.Module):
        raise ValueError(f"{path} makes a {type(net).__name__}, not a torch.nn.Module")
    return net


def _call(factory: Callable[..., Any], path: str, kwargs: dict[str, Any], n_outputs: int) -> object:
    """Call a factory that passes keyword arguments on to an unknown signature: each name of the width is tried."""
    reason = ""
    for name in _WIDTH_NAMES:
        try:
            return factory(**kwargs, **{name: n_outputs})
        except TypeError as error:
            reason = str(error)
            if "unexpected keyword argument" not in reason:
                raise
            if f"'{name}'" not in reason:
                break
    else:
        return factory(**kwargs)
    raise ValueError(f"{path} cannot be called with {setting_prefix()}.kwargs={kwargs}: {reason}")


def _width_received(head: nn.Module, name: str, path: str) -> int:
    """Return the width of the head's input: that of its first layer with `in_features`."""
    for layer in head.modules():
        width = getattr(layer, "in_features", None)
        if isinstance(width, int):
            return width
    raise ValueError(f"the head {name!r} of {path} holds no linear layer; name the one that ends the network")
