"""Any model of timm (PyTorch Image Models), split at its classifier. An optional extra: weakspot[timm]."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from weakspot.models.base import Model, find_layer, record_head, setting_prefix
from weakspot.models.checkpoint import own_names, read_weights
from weakspot.offline import hub_network
from weakspot.tasks import Task


class TimmModel(Model):
    """Wraps a model of timm; `net` is timm's own module under its own names, so that state dicts load either way.

    The embedding is what `net.get_classifier()` receives: `net.forward_head(…, pre_logits=True)`, flattened.

    name        as timm writes it, with or without a tag: "resnet18", "vit_small_patch16_224.dino"
    weights     None (random), "DEFAULT" (what timm publishes under this name: looked for in Hugging Face's
                cache, and fetched into it if `download`), or a file. A head made for another number of classes
                is replaced by a new one
    cam_layer   the module that Grad-CAM uses; by default the last stage of a network with feature maps (Swin, too)
                or the last norm1 of a vision transformer, or none if no module is known to give maps or patch tokens
    kwargs      further arguments of `timm.create_model`, such as `img_size`

    Raises ImportError without timm; ValueError for an unknown name, for weights that do not fit, for models
    without a single last layer and, when run, for images of a size the model cannot take; FileNotFoundError for
    weights that are not there.
    """

    no_difference = Model.no_difference | {"cam_layer"}
    channels_last = True

    def __init__(
        self,
        task: Task,
        name: str,
        weights: str | Path | None = None,
        download: bool = False,
        cam_layer: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        timm = _import()
        _check_name(timm, name)
        arguments = {"num_classes": task.n_outputs, **(kwargs or {})}
        with torch.device("meta"):
            self.net: nn.Module = _create(timm, name, arguments)
        self.name = name
        settings: dict[str, Any] = dict(self.net.pretrained_cfg)  # type: ignore[arg-type]
        last = self._classifier()
        self.embedding_size = last.in_features if isinstance(last, nn.Linear) else last.in_channels
        self._exact_size = _exact_size(self.net, settings)
        self._cam_path = _cam_path(self.net, settings) if cam_layer is None else cam_layer
        if self._cam_path is not None:
            find_layer(self.net, self._cam_path, "cam_layer", f"timm's {name}")
        self._checked: set[bool] = set()

        if weights is None:
            self.net = _create(timm, name, arguments)
            self.head_is_trained = False
            return
        path = (
            _published(name, settings, download) if str(weights) == "DEFAULT" else Path(weights).expanduser()
        )
        given = own_names(read_weights(path), list(self.net.state_dict()), str(path))
        n_classes = _classes_of(given, settings)
        self.head_is_trained = n_classes == task.n_outputs
        if n_classes and not self.head_is_trained:
            self.new_head = (
                f"{path}: its head of {n_classes} classes is replaced by a new one of {task.n_outputs}"
            )
        self.net = _create(timm, name, arguments, given, n_classes, str(path))

    @property
    def cam_layer(self) -> nn.Module | None:
        return None if self._cam_path is None else self.net.get_submodule(self._cam_path)

    def embed(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d"]:
        if self._exact_size is not None and tuple(x.shape[-2:]) != self._exact_size:
            given, wanted = "×".join(map(str, x.shape[-2:])), "×".join(map(str, self._exact_size))
            raise ValueError(
                f"timm's {self.name} takes images of exactly {wanted} pixels, not {given}; have the dataset resize "
                f"them (dataset.size={self._exact_size[0]})"
            )
        received, given_by_head, outputs = record_head(self.net, self._classifier(), x)
        if self.training not in self._checked:
            if not torch.equal(given_by_head.flatten(1), outputs):
                raise ValueError(
                    f"timm's {self.name} changes the output of its last layer before returning it"
                )
            self._checked.add(self.training)
        return received.flatten(1)

    def head(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        classifier = self._classifier()
        if isinstance(classifier, nn.Conv2d):
            z = z[..., None, None]
        y: Tensor = classifier(z)
        return y.flatten(1)

    def _classifier(self) -> nn.Linear | nn.Conv2d:
        last: object = self.net.get_classifier()  # type: ignore[operator]
        if not isinstance(last, nn.Linear | nn.Conv2d):
            raise ValueError(
                f"timm's {self.name} ends in {type(last).__name__}, not in one linear layer that gives the outputs"
            )
        return last


def _import() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            f'{setting_prefix()}=timm needs timm, which is not installed: pip install "weakspot[timm]"'
        ) from error
    module: ModuleType = timm
    return module


def _check_name(timm: ModuleType, name: str) -> None:
    known = [*timm.list_models(), *timm.list_pretrained()]
    if name not in known:
        near = ", ".join(get_close_matches(name, known, n=5, cutoff=0.3))
        raise ValueError(f"timm {timm.__version__} has no model {name!r}; nearest: {near or 'none'}")


def _create(
    timm: ModuleType,
    name: str,
    arguments: Mapping[str, Any],
    given: Mapping[str, Tensor] | None = None,
    n_classes: int | None = None,
    source: str = "",
) -> nn.Module:
    """Return the network, with random weights or with those `given`, whose head is for `n_classes`; timm itself
    renames old names, resizes position embeddings and leaves out a head of another width."""
    overlay = {"state_dict": given, "source": "", "custom_load": False, "num_classes": n_classes}
    options = {} if given is None else {"pretrained": True, "pretrained_cfg_overlay": overlay}
    try:
        net: nn.Module = timm.create_model(name, **arguments, **options)
    except TypeError as error:
        raise ValueError(
            f"timm's {name} cannot be made with {setting_prefix()}.kwargs={dict(arguments)}: {error}"
        ) from error
    except (RuntimeError, KeyError) as error:
        if given is None:
            raise
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{source} does not fit timm's {name}: {reason}") from error
    if given is not None:
        settings: Any = net.pretrained_cfg
        settings["state_dict"] = None  # timm would keep a second copy
    return net


def _published(name: str, settings: Mapping[str, Any], download: bool) -> Path:
    from huggingface_hub import hf_hub_download

    repository, file = settings.get("hf_hub_id"), settings.get("hf_hub_filename") or "model.safetensors"
    if not repository:
        raise FileNotFoundError(f"timm publishes no weights for {name}; choose another name or give a file")
    try:
        with hub_network(download):
            return Path(hf_hub_download(repository, file, local_files_only=not download))
    except Exception as error:  # OSError, and a dozen errors of the hub's own
        if download:
            raise FileNotFoundError(
                f"could not download {file} of {repository} ({' '.join(str(error).split())[:200]}); fetch it by hand "
                f"from https://huggingface.co and pass {setting_prefix()}.weights=<path of the file>"
            ) from error
        raise FileNotFoundError(
            f"the weights of timm's {name} ({file} of {repository}) are not in Hugging Face's cache; "
            f"{setting_prefix()}.download=true fetches them, or give {setting_prefix()}.weights=<path of the file>"
        ) from error


def _classes_of(given: Mapping[str, Tensor], settings: Mapping[str, Any]) -> int | None:
    """Return the number of classes of the head in a file of weights; None without a head."""
    last = settings.get("classifier")
    weight = given.get(f"{last}.weight") if isinstance(last, str) else None
    return None if weight is None else len(weight)


def _exact_size(net: nn.Module, settings: Mapping[str, Any]) -> tuple[int, int] | None:
    if not settings.get("fixed_input_size"):
        return None
    height, width = getattr(getattr(net, "patch_embed", None), "img_size", None) or settings["input_size"][1:]
    return height, width


def _cam_path(net: nn.Module, settings: Mapping[str, Any]) -> str | None:
    blocks = getattr(net, "blocks", None)
    if hasattr(net, "num_prefix_tokens") and isinstance(blocks, nn.Sequential | nn.ModuleList):
        return f"blocks.{len(blocks) - 1}.norm1"
    stages: Any = getattr(net, "feature_info", None)
    layout = getattr(net, "output_fmt", "NCHW")
    maps = layout == "NHWC" or (layout == "NCHW" and not settings.get("fixed_input_size"))
    return str(stages[-1]["module"]) if maps and stages else None
