"""Any architecture of torchvision's classification families, split at its last layer."""

from __future__ import annotations

import math
from difflib import get_close_matches
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from weakspot.models.base import Model, find_layer, record_head, setting_prefix
from weakspot.models.checkpoint import load_state, own_names, read_weights
from weakspot.models.names import NAMES
from weakspot.tasks import Task

_LAYERS = {  # family: (the head, the layer that Grad-CAM uses)
    "alexnet": ("classifier.6", "features"),
    "convnext": ("classifier.2", "features"),
    "densenet": ("classifier", "features"),
    "efficientnet": ("classifier.1", "features"),
    "mobilenet_v2": ("classifier.1", "features"),
    "mobilenet_v3": ("classifier.3", "features"),
    "resnet": ("fc", "layer4"),
    "resnext": ("fc", "layer4"),
    "squeezenet": ("classifier.1", "features"),
    "vgg": ("classifier.6", "features"),
    "vit": ("heads.head", "encoder.layers.encoder_layer_{last}.ln_1"),
    "wide_resnet": ("fc", "layer4"),
}


class TorchvisionModel(Model):
    """Wraps a torchvision model; `net` is its own module under its own names, so that state dicts load either way.

    The embedding is the input of the last linear layer. SqueezeNet has none: its outputs are the mean over
    positions of ReLU(w·f + b), which no average of the maps f determines. There the embedding is the mean of
    the last maps (512) followed by the outputs (C), and the head returns the latter: exact in every
    precision, and of one width whatever the image's size.

    weights: None (random), the name of a published set ("DEFAULT", "IMAGENET1K_V1", …: looked for in torch's
    cache, and fetched into it if `download`), or a file. A head made for another number of classes is replaced
    by a new one.

    cam_layer: the module of `net` that Grad-CAM uses, "layer3" say; by default the last one with feature maps, or
    the last ln_1 of a vision transformer.

    Raises ValueError for an unknown name or layer, for weights that do not fit and, when run, for images that the
    architecture cannot take; FileNotFoundError for weights that are neither published nor a file, or cannot
    be downloaded.
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
    ) -> None:
        super().__init__()
        if name not in NAMES:
            near = ", ".join(get_close_matches(name, NAMES, n=5, cutoff=0.3))
            raise ValueError(f"unknown torchvision model {name!r}; nearest: {near or ', '.join(NAMES)}")
        self.name = name
        self._family = max((family for family in _LAYERS if name.startswith(family)), key=len)
        self._head_path, self._cam_path = _LAYERS[self._family]
        given = None if weights is None else _read(name, weights, download)

        size = {"image_size": _vit_image_size(name, given)} if self._family == "vit" else {}
        self.net: nn.Module = get_model(name, weights=None, num_classes=task.n_outputs, **size)
        self.smallest_image: int = size.get(
            "image_size", get_model_weights(name)["DEFAULT"].meta["min_size"][0]
        )
        if self._family == "vit":
            blocks = self.net.get_submodule("encoder.layers")
            self._cam_path = self._cam_path.format(last=len(list(blocks.children())) - 1)
        if self._family == "densenet":
            # DenseNet's forward applies an in-place ReLU to its features. One of our own before it changes no
            # result, and makes the maps for Grad-CAM the output of a module. It is a Threshold because a ReLU
            # keeps its output for the backward pass, which the in-place one would then have changed
            self.net.get_submodule("features").add_module("relu5", nn.Threshold(0, 0))
        if cam_layer is not None:
            find_layer(self.net, cam_layer, "cam_layer", name)
            self._cam_path = cam_layer
        last = self.net.get_submodule(self._head_path)
        assert isinstance(last, nn.Linear | nn.Conv2d)
        width = last.weight.shape[1]
        self.embedding_size = width + task.n_outputs if self._family == "squeezenet" else width
        self.head_is_trained = given is not None and self._start_from(given, str(weights))

    @property
    def cam_layer(self) -> nn.Module:
        return self.net.get_submodule(self._cam_path)

    def embed(self, x: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d"]:
        self._check_size(*x.shape[-2:])
        received, _, outputs = record_head(self.net, self.net.get_submodule(self._head_path), x)
        if self._family == "squeezenet":
            return torch.cat([received.mean(dim=(2, 3)), outputs], dim=1)
        return received

    def head(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        last = self.net.get_submodule(self._head_path)
        if isinstance(last, nn.Conv2d):
            return z[:, -last.out_channels :]
        y: Tensor = last(z)
        return y

    def _check_size(self, height: int, width: int) -> None:
        side = self.smallest_image
        exact = self._family == "vit"
        if (exact and (height, width) != (side, side)) or min(height, width) < side:
            raise ValueError(
                f"{self.name} takes images of {'exactly' if exact else 'at least'} {side}×{side} pixels, not "
                f"{height}×{width}; have the dataset resize them (dataset.size={side})"
            )

    def _start_from(self, given: dict[str, Tensor], source: str) -> bool:
        """Load weights, except a head of another width; return whether the head was loaded."""
        own = self.net.state_dict()
        given = own_names(given, list(own), source)
        weight = f"{self._head_path}.weight"
        head_fits = weight not in given or len(given[weight]) == len(own[weight])
        if not head_fits:
            old, new = len(given[weight]), len(own[weight])
            self.new_head = f"{source}: its head of {old} classes is replaced by a new one of {new}"
            given |= {name: own[name] for name in own if name.startswith(f"{self._head_path}.")}
        load_state(self.net, given, source)
        return head_fits


def _read(name: str, weights: str | Path, download: bool) -> dict[str, Tensor]:
    """Read the tensors of a published set of weights, or of a file."""
    published = get_model_weights(name)
    usable = [key for key, entry in published.__members__.items() if entry.meta["categories"]]
    if str(weights) not in usable:
        if not Path(weights).is_file():
            raise FileNotFoundError(
                f"{name} has no weights {str(weights)!r}: there is no such file, and the published sets are "
                f"{', '.join(usable)}"
            )
        return read_weights(weights)
    url: str = published[str(weights)].url
    cached = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not (download or cached.is_file()):
        raise FileNotFoundError(
            f"the weights {weights} of {name} are not at {cached}; {setting_prefix()}.download=true fetches them, or "
            f"put {url} there by hand, or give {setting_prefix()}.weights=<path of the file>"
        )
    try:
        state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True
        )
    except OSError as error:  # URLError and timeouts included
        raise FileNotFoundError(
            f"could not download {url} ({error}); fetch that file by hand and pass {setting_prefix()}.weights=<path of "
            "the file>"
        ) from error
    return state


def _vit_image_size(name: str, given: dict[str, Tensor] | None) -> int:
    """Return the side of the images that the position embeddings are for: one per patch and one for the class."""
    positions = [tensor for key, tensor in (given or {}).items() if key.endswith("encoder.pos_embedding")]
    if not positions:
        return 224
    patch = int(name.rpartition("_")[2])
    return patch * math.isqrt(positions[0].shape[1] - 1)
