"""The dataset and the model of a run: images and texts of its examples, and Grad-CAM of any layer and class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any, Self, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from weakspot import images
from weakspot.app.loaded_runs import LoadedRun
from weakspot.app.run_index import RunIndex
from weakspot.app.run_previews import RunPreviews
from weakspot.datasets.base import Dataset
from weakspot.explain.gradcam import grad_cam, overlay
from weakspot.images import shrunk
from weakspot.models.base import Model
from weakspot.models.checkpoint import load_weights
from weakspot.tasks import Task

_MAX_SIDE = 512  # pixels of an image that is shown by itself

_T = TypeVar("_T")


@dataclass(frozen=True)
class ComponentBuilders:
    """Functions that build a run's dataset and model.

    Attributes:
        dataset: Builds the dataset of a split.
        model: Builds a freshly initialised model for a task.
    """

    dataset: Callable[[str], Dataset]
    model: Callable[[Task], Model]


class _LockedCachedProperty(cached_property[_T]):
    """A cached property of `RunComponents` that one thread computes while the others wait for it."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> _T: ...

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Self | _T:
        if instance is None:
            return self
        with instance.lock:
            made: _T = super().__get__(instance, owner)
            return made


class RunComponents(RunPreviews):
    """The dataset and the model of a run, built when they are first needed.

    Args:
        loaded: The run.
        builders: The functions that build them.
        runs: The runs below the folders: a checkpoint is read only if it lies in these folders.
    """

    def __init__(self, loaded: LoadedRun, builders: ComponentBuilders, runs: RunIndex) -> None:
        self._loaded, self._builders, self._runs = loaded, builders, runs
        self.lock = RLock()  # neither a dataset nor a model with hooks may be used by two threads at a time

    def open(self) -> None:
        """Build the dataset and read its first example, so that problems with it are reported at once."""
        _ = self.positions, self.has_images

    @_LockedCachedProperty
    def dataset(self) -> Dataset:
        """The dataset of the split that was audited."""
        manifest = self._manifest
        return self._builders.dataset(str(manifest.get("split") or "test"))

    @_LockedCachedProperty
    def positions(self) -> Mapping[str, int]:
        """The position of each id in the dataset."""
        return {id: position for position, id in enumerate(self.dataset.examples.column("id").to_pylist())}

    @_LockedCachedProperty
    def model(self) -> Model:
        """The model with the weights that made the predictions.

        Raises:
            ValueError: If it cannot be built, or its weights cannot be read.
        """
        checkpoint = self._manifest.get("checkpoint")
        try:
            model = self._builders.model(self.dataset.task)
        except ValueError:
            raise
        except Exception as error:  # the network and its settings may be anything
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ValueError(f"The model cannot be built: {reason}") from error
        if checkpoint not in (None, "", "pretrained"):
            load_weights(model, self._find_file(Path(str(checkpoint))))
        return model.eval()

    @_LockedCachedProperty
    def has_images(self) -> bool:
        """Whether its examples are images."""
        return isinstance(self.dataset.preview(0), Image.Image)

    @_LockedCachedProperty
    def has_texts(self) -> bool:
        """Whether its examples are texts, or mappings of values."""
        return isinstance(self.dataset.preview(0), str | Mapping)

    @_LockedCachedProperty
    def texts(self) -> Sequence[str] | None:
        """The text of each row; None if the examples are not texts."""
        texts = self.dataset.texts
        if texts is None:
            return None
        positions = (self.positions.get(str(id)) for id in self._loaded.predictions.ids)
        return ["" if position is None else texts[position] for position in positions]

    def preview(self, row: int) -> Any:
        """Return what a page shows of a row: an image, a text or a mapping of values.

        Args:
            row: The row of the predictions.

        Raises:
            ValueError: If the dataset no longer holds this example.
        """
        with self.lock:
            return self.dataset.preview(self._position(row))

    def cam_overlay(self, row: int, layer: str, target: int | None) -> Image.Image:
        """Return an image with the regions that the model's output depends on (Grad-CAM).

        Args:
            row: The row of the predictions.
            layer: The layer's name in the model; "" for the model's own `cam_layer`.
            target: The class; None for the predicted one.

        Raises:
            ValueError: If the model has no such layer, or Grad-CAM cannot be computed there.
        """
        with self.lock:
            position, model = self._position(row), self.model
            modules = dict(model.named_modules())
            chosen = modules.get(layer) if layer else model.cam_layer
            if chosen is None:
                raise ValueError(f"The model has no layer {layer[:100]} for Grad-CAM.")
            inputs = self.dataset.collate([self.dataset[position]])["input"]
            targets = None if target is None else np.array([target])
            try:
                (cam_map,) = grad_cam(_ModelAtLayer(model, chosen), inputs, targets)
            except Exception as error:  # any network, in a hook and a backward pass, may raise any error
                reason = " ".join(str(error).split())[:300] or type(error).__name__
                raise ValueError(f"No Grad-CAM in {layer or 'the layer of the model'}: {reason}") from error
            return overlay(self.dataset.preview(position), cam_map)

    @_LockedCachedProperty
    def layers(self) -> tuple[str, ...]:
        """The names of the layers whose outputs are maps or tokens, in the order of the network."""
        map_layers: list[str] = []

        def noting(name: str) -> Callable[[Any, Any, Any], None]:
            def note(_module: Any, _inputs: Any, output: Any) -> None:
                is_map = isinstance(output, Tensor) and output.is_floating_point() and output.ndim in (3, 4)
                if is_map and min(output.shape[-2:]) > 1 and name not in map_layers:
                    map_layers.append(name)

            return note

        inputs = self.dataset.collate([self.dataset[0]])["input"]
        modules = [(name, module) for name, module in self.model.named_modules() if name]
        hooks = [module.register_forward_hook(noting(name)) for name, module in modules]
        try:
            with torch.no_grad():
                self.model(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return tuple(map_layers)

    @property
    def default_layer(self) -> str:
        """The name of the model's own `cam_layer`; "" if it has none."""
        cam_layer = self.model.cam_layer
        return next((name for name, module in self.model.named_modules() if module is cam_layer and name), "")

    def _find_file(self, named: Path) -> Path:
        """Return the path of a file that the run names, relative to the working directory or a parent of its folder."""
        candidates = [named, *(parent / named for parent in self._loaded.run.folder.absolute().parents)]
        found = next((path for path in candidates if path.is_file() and self._runs.contains(path)), None)
        if found is None:
            raise ValueError(
                f"The weights {named} do not lie under {', '.join(map(str, self._runs.folders))}: name their folder "
                "too (browse.py folders=[…])."
            )
        return found

    @property
    def _manifest(self) -> Mapping[str, Any]:
        return self._loaded.predictions.manifest

    def _position(self, row: int) -> int:
        position = self.positions.get(str(self._loaded.predictions.ids[row]))
        if position is None:
            raise ValueError("The dataset no longer holds this example.")
        return position


class _ModelAtLayer(nn.Module):
    """A model whose Grad-CAM is computed in a layer other than its own `cam_layer`."""

    def __init__(self, model: Model, layer: nn.Module) -> None:
        super().__init__()
        self.model = model
        # in a tuple, so that it is not registered as a module, and the model's names stay as they are
        self._layer = (layer,)

    @property
    def cam_layer(self) -> nn.Module:
        return self._layer[0]

    def forward(self, x: Any) -> Tensor:
        outputs: Tensor = self.model(x)
        return outputs


def encode_webp(image: Image.Image, side: int = _MAX_SIDE) -> bytes:
    """Return an image as WebP, no larger than it is shown; a tiny one is compressed without loss."""
    shrunk_image = shrunk(image, side)
    return images.webp(shrunk_image, quality=85, lossless=max(shrunk_image.size) <= 64)
