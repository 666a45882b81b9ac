"""Loads networks of the transformers library from a folder, or by name from Hugging Face's cache."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weakspot.models.base import Model, setting_prefix
from weakspot.offline import hub_network

_PREPROCESSOR = "preprocessor_config.json"
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model*.json")


class HubModel(Model):
    """A model whose setting `name` is a folder, as `save_pretrained` writes it, or a name on the hub."""

    @classmethod
    def identity(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Identify the model by the configuration and weights in its folder, whatever other files are there."""
        folder = Path(settings["name"]).expanduser()
        weights = folder_digest(folder) if (folder / "config.json").is_file() else str(settings["name"])
        return super().identity({**settings, "name": weights})


def load_config(name: str | Path, download: bool = False) -> Any:
    """Load the configuration of a network from a folder, or by its name on the hub.

    Raises:
        ValueError: If the folder's config.json cannot be read.
        FileNotFoundError: If there is no such folder or name; it is only fetched with `download`.
    """
    from transformers import AutoConfig

    fetch = _may_fetch(name, download)
    with _readable_errors(name), _quiet_transformers(), hub_network(fetch):
        return AutoConfig.from_pretrained(_source(name), **_loading_options(fetch))


def load_net(kind: Any, name: str | Path, download: bool = False, **changes: Any) -> tuple[Any, list[str]]:
    """Load a network from a folder, or by its name on the hub, and return it with the names of its new parameters.

    `kind` is one of transformers' Auto classes; `changes` are applied to its configuration. New parameters are
    those that the weights lack or have in another shape: a head for another task. An incomplete body is refused.
    Weights are read as safetensors or with `weights_only`, as float32; code beside them is never run.

    Raises as `load_config` does, and ValueError for weights that are damaged or of another architecture.
    """
    fetch = _may_fetch(name, download)
    with _readable_errors(name), _quiet_transformers(), hub_network(fetch):
        net, info = kind.from_pretrained(
            _source(name),
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **_loading_options(fetch),
            **changes,
        )
    new = sorted({*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])})
    prefix = f"{net.base_model_prefix}." if hasattr(net, net.base_model_prefix) else ""
    body = [key for key in new if key.startswith(prefix) and ".pooler." not in f".{key}"]
    if body:
        raise ValueError(
            f"the weights of {name} do not fit {type(net).__name__}: {len(body)} of the body's tensors are missing or "
            f"of another shape ({', '.join(body[:3])}, …); its config.json may belong to another model"
        )
    return net, new


def load_normalisation(name: str | Path, download: bool = False) -> tuple[list[float], list[float]] | None:
    """Load the mean and standard deviation that a network's images are normalised by, per channel, in [0, 1].

    Returns None if its preprocessor_config.json is missing, or states that images are not normalised. Raises
    ValueError if it cannot be read.
    """
    from transformers.image_processing_base import ImageProcessingMixin

    fetch, folder = _may_fetch(name, download), Path(name).expanduser()
    try:
        with _quiet_transformers(), hub_network(fetch):
            processor, _ = ImageProcessingMixin.get_image_processor_dict(
                _source(name), local_files_only=not fetch
            )
        if not processor.get("do_normalize", True):
            return None
        mean, std = ([float(value) for value in processor[key]] for key in ("image_mean", "image_std"))
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError(f"image_mean {mean} and image_std {std} do not fit")
    except Exception as error:  # OSError if it is missing, or is not JSON
        if isinstance(error, OSError) and not (folder / _PREPROCESSOR).is_file():
            return None
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{folder / _PREPROCESSOR} cannot be read ({reason}); repair it, or remove it if images are to stay as "
            "the dataset normalises them"
        ) from error
    return mean, std


def accepted_tensors(net: nn.Module, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a batch that the network accepts; some tokenizers return more than some networks take.

    Raises:
        ValueError: If texts have more tokens than the network has positions for.
    """
    length, most = x["input_ids"].shape[1], getattr(net.config, "max_position_embeddings", None)
    if most is not None and length > most:
        raise ValueError(
            f"{type(net).__name__} reads {most} tokens at most, not {length}; set dataset.max_length={most}"
        )
    taken = inspect.signature(net.forward).parameters
    return {name: tensor for name, tensor in x.items() if name in taken}


def folder_digest(folder: str | Path) -> str:
    """Return twelve hex digits of the configuration and weights in a folder, as `save_pretrained` writes them."""
    folder = Path(folder).expanduser()
    sha = hashlib.sha256()
    for file in sorted({folder / "config.json", *(path for form in _WEIGHTS for path in folder.glob(form))}):
        with open(file, "rb") as content:
            sha.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}".encode())
    return sha.hexdigest()[:12]


def _source(name: str | Path) -> str | Path:
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else str(name)


def _may_fetch(name: str | Path, download: bool) -> bool:
    return download and not Path(name).expanduser().is_dir()


def _loading_options(fetch: bool) -> dict[str, Any]:
    return {"local_files_only": not fetch, "trust_remote_code": False}


@contextmanager
def _readable_errors(name: str | Path) -> Iterator[None]:
    """Turn any error into one sentence that names the folder or explains how to fetch the model."""
    try:
        yield
    except Exception as error:  # OSError, ValueError, KeyError, JSON's, safetensors' and pickle's own
        folder = Path(name).expanduser()
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if "Weights only load failed" in reason:
            reason = "its weights hold objects besides tensors, and reading such objects can run code"
        if not folder.is_dir():
            raise FileNotFoundError(
                f"the model {str(name)!r} is neither a folder nor in Hugging Face's cache: add "
                f"{setting_prefix()}.download=true to fetch it, or give its folder ({setting_prefix()}.name=…) "
                f"[{reason}]"
            ) from error
        if not (folder / "config.json").is_file():
            reason = "there is no config.json"
        raise ValueError(
            f"{folder} holds no model that can be read ({reason}); it needs config.json and model.safetensors, as "
            "save_pretrained writes them"
        ) from error


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence transformers' own reports and progress bars; the important ones are raised here as errors."""
    from transformers.utils import logging as info

    logging: Any = info  # partly without annotations
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
