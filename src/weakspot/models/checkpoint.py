"""Reads weights from files without running code, and matches them to a model's by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from weakspot.legible import printable
from weakspot.models.torch_files import read_torch

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "model_state", "module", "algorithm")
_DEEPEST = 3  # levels of nested wrappers
_LISTED = 3
_RENAMED = (  # layers that torchvision renamed after it had published files with the old names
    (re.compile(r"(\.denselayer\d+\.(?:norm|relu|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
    (re.compile(r"(^|\.)norm_final\."), r"\1norm5."),  # the DenseNets that UDIS was published with
)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a file of weights into `model`, whatever wrapped the network when it was saved.

    Reads files written by `torch.save`, and `.safetensors`: a plain state dict, a Lightning checkpoint, or one under
    "model_state_dict", "model", "net", "model_state", "module" or "algorithm" (WILDS). Prefixes of the model's own
    names ("model.", DataParallel's "module.", …) are removed. Objects other than tensors are not read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or made to run code, or its names or shapes are not the model's; the model
            is then unchanged.
    """
    load_state(model, read_weights(path), str(path))


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name, into memory or mapped from disk; errors are those of `load_weights`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path.absolute()}: there is no such file")
    safe = path.suffix == ".safetensors"
    content, objects = (_read_safetensors(path), []) if safe else read_torch(path)
    weights = _weights_in(content, _DEEPEST)
    if not weights:
        wanted = f"expected a state dict, plain or under {', '.join(_WRAPPERS)}"
        if objects:  # a whole network, say, as torch.save(model) writes it
            wanted += (
                f"; the file holds {_some(objects)}, and reading such objects can run code: save the state dict alone, "
                "torch.save(model.state_dict(), FILE)"
            )
        raise ValueError(f"{path} holds no weights: {wanted}")
    return weights


def _weights_in(content: object, depth: int) -> dict[str, Tensor]:
    """Return the tensors under the first wrapper that has any, or else those of this level."""
    if not isinstance(content, Mapping):
        return {}
    inside = (_weights_in(content[name], depth - 1) for name in _WRAPPERS if depth and name in content)
    own = {
        name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)
    }
    return next(filter(None, inside), own)


def load_state(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into `model` once every name and shape is checked; errors name `source`."""
    own = model.state_dict()
    shared = _shared_prefix(list(own))
    named = own_names(weights, [name.removeprefix(shared) for name in own], source)
    given = {shared + name: tensor for name, tensor in named.items()}
    problems = _differences(own, given)
    if problems:
        raise ValueError(f"{source} does not fit {type(model).__name__}: {'; '.join(problems)}")
    model.load_state_dict(given, strict=False)  # only BatchNorm's batch counters may be missing


def own_names(weights: Mapping[str, Tensor], names: list[str], source: str) -> dict[str, Tensor]:
    """Select the tensors of `weights` that belong to a network with these `names`, under its names.

    The wrapper's prefix is the one under which most names are found; tensors outside it (the weight of
    a loss, a metric's state) do not belong to the network.
    """
    wanted = set(names)
    renamings = [(old, new) for old, new in _RENAMED if not any(old.search(name) for name in names)]
    renamed = {_current_name(name, renamings): tensor for name, tensor in weights.items()}
    counts: Counter[str] = Counter()
    for name in renamed:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in wanted:
                counts["".join(f"{part}." for part in parts[:start])] += 1
    best = [prefix for prefix, count in counts.items() if count == max(counts.values())]
    if len(best) > 1 and "" not in best:
        raise ValueError(
            f"{source} holds more than one network of this shape, under "
            f"{' and '.join(map(repr, sorted(best)))}: save the state dict of the one that is meant"
        )
    prefix = "" if not best or "" in best else best[0]
    return {name.removeprefix(prefix): tensor for name, tensor in renamed.items() if name.startswith(prefix)}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from None
    return tensors


def _current_name(name: str, renamings: list[tuple[re.Pattern[str], str]]) -> str:
    name = name.replace("_orig_mod.", "")  # torch.compile
    for old, new in renamings:
        name = old.sub(new, name)
    return name


def _shared_prefix(names: list[str]) -> str:
    """Return the leading parts that all names share, or "" if they share none; each name keeps its last part."""
    columns = zip(*(name.split(".")[:-1] for name in names), strict=False)
    shared = ""
    for column in columns:
        if len(set(column)) > 1:
            break
        shared += f"{column[0]}."
    return shared


def _differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in own]
    reshaped = [
        f"{name} is {tuple(given[name].shape)} but the model's is {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("wrong shape:", reshaped))
    return [f"{kind} {_some(names)}" for kind, names in kinds if names]


def _some(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(map(printable, names[:_LISTED])) + (f" and {more} more" if more > 0 else "")
