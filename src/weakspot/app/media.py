"""Images and texts of a run's examples, and Grad-CAM of any layer and class, made when a page asks for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Self, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from weakspot import images
from weakspot.app.records import Record
from weakspot.app.runs import Runs
from weakspot.datasets.base import Dataset
from weakspot.explain.gradcam import grad_cam, overlay
from weakspot.images import shrunk
from weakspot.models.base import Model
from weakspot.models.checkpoint import load_weights
from weakspot.tasks import Task

_SIDE = 512  # pixels of an image that is shown by itself
_KEPT = 2  # runs whose data and model are in memory

_T = TypeVar("_T")


@dataclass(frozen=True)
class Parts:
    """What a run was made of, ready to be built.

    Attributes:
        dataset: By split.
        model: By task, with fresh weights.
    """

    dataset: Callable[[str], Dataset]
    model: Callable[[Task], Model]


class _MadeOnce(cached_property[_T]):
    """A cached property of a `Subject` that one thread makes while the others wait for it."""

    @overload
    def __get__(self, subject: None, owner: type[Any] | None = None) -> Self: ...

    @overload
    def __get__(self, subject: object, owner: type[Any] | None = None) -> _T: ...

    def __get__(self, subject: Any, owner: type[Any] | None = None) -> Self | _T:
        if subject is None:
            return self
        with subject.lock:
            made: _T = super().__get__(subject, owner)
            return made


class Subject:
    """The data and the model of a run; built when they are first asked for.

    Args:
        record: The run.
        parts: What builds them.
        runs: A checkpoint is read where it lies in their folders.
    """

    def __init__(self, record: Record, parts: Parts, runs: Runs) -> None:
        self._record, self._parts, self._runs = record, parts, runs
        self.lock = RLock()  # neither a dataset nor a model under a hook is for two at a time

    @_MadeOnce
    def dataset(self) -> Dataset:
        manifest = self._manifest
        return self._parts.dataset(str(manifest.get("split") or "test"))

    @_MadeOnce
    def places(self) -> Mapping[str, int]:
        """Where in the dataset each id stands."""
        return {id: place for place, id in enumerate(self.dataset.examples.column("id").to_pylist())}

    @_MadeOnce
    def model(self) -> Model:
        """The model with the weights that the predictions were made with."""
        checkpoint = self._manifest.get("checkpoint")
        try:
            model = self._parts.model(self.dataset.task)
        except ValueError:
            raise
        except Exception as error:  # of anyone's network, with settings that anyone may have written
            said = " ".join(str(error).split())[:300] or type(error).__name__
            raise ValueError(f"The model cannot be built: {said}") from error
        if checkpoint not in (None, "", "pretrained"):
            load_weights(model, self._file(Path(str(checkpoint))))
        return model.eval()

    @_MadeOnce
    def pictures(self) -> bool:
        """Whether its examples are images."""
        return isinstance(self.dataset.preview(0), Image.Image)

    def shown(self, row: int) -> Any:
        """What there is to look at of a row: an image, a text or a mapping of values."""
        with self.lock:
            return self.dataset.preview(self._place(row))

    def cam(self, row: int, layer: str, target: int | None) -> Image.Image:
        """Where in an image the model finds its evidence.

        Args:
            row: Of the predictions.
            layer: By its name in the model; "" for the one that the model names.
            target: The class; None for the one that the model predicts.

        Raises:
            ValueError: Where the model has no such layer, or Grad-CAM cannot be computed there.
        """
        with self.lock:
            place, model = self._place(row), self.model
            modules = dict(model.named_modules())
            chosen = modules.get(layer) if layer else model.cam_layer
            if chosen is None:
                raise ValueError(f"The model has no layer {layer[:100]} for Grad-CAM.")
            inputs = self.dataset.collate([self.dataset[place]])["input"]
            targets = None if target is None else np.array([target])
            try:
                (map_,) = grad_cam(_InLayer(model, chosen), inputs, targets)
            except Exception as error:  # of anyone's network, under a hook and a backward pass
                reason = " ".join(str(error).split())[:300] or type(error).__name__
                raise ValueError(f"No Grad-CAM in {layer or 'the layer of the model'}: {reason}") from error
            return overlay(self.dataset.preview(place), map_)

    @_MadeOnce
    def layers(self) -> tuple[str, ...]:
        """The names of the layers whose output are maps, or tokens, in the order of the network."""
        found: list[str] = []

        def noting(name: str) -> Callable[[Any, Any, Any], None]:
            def note(_module: Any, _given: Any, output: Any) -> None:
                maps = isinstance(output, Tensor) and output.is_floating_point() and output.ndim in (3, 4)
                if maps and min(output.shape[-2:]) > 1 and name not in found:
                    found.append(name)

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
        return tuple(found)

    @property
    def own_layer(self) -> str:
        """The name of the layer that the model names for Grad-CAM; "" where it names none."""
        own = self.model.cam_layer
        return next((name for name, module in self.model.named_modules() if module is own and name), "")

    def _file(self, named: Path) -> Path:
        """A file where the run named it, seen from here or from a folder above the run's."""
        places = [named, *(above / named for above in self._record.run.folder.absolute().parents)]
        found = next((place for place in places if place.is_file() and self._runs.holds(place)), None)
        if found is None:
            raise ValueError(
                f"The weights {named} do not lie under {', '.join(map(str, self._runs.folders))}: name their folder "
                "too (browse.py folders=[…])."
            )
        return found

    @property
    def _manifest(self) -> Mapping[str, Any]:
        return self._record.predictions.manifest

    def _place(self, row: int) -> int:
        place = self.places.get(str(self._record.predictions.ids[row]))
        if place is None:
            raise ValueError("The data as they are now do not hold this example.")
        return place


class Subjects:
    """Data and models of the last few runs.

    Args:
        runs: Those at hand.
        parts_of: What the run of a folder was made of; it raises ValueError where that is not to be built.
    """

    def __init__(self, runs: Runs, parts_of: Callable[[Path], Parts]) -> None:
        self._runs, self._parts_of = runs, parts_of
        self._kept: OrderedDict[str, tuple[Record, Subject]] = OrderedDict()
        self._lock = Lock()

    def of(self, record: Record) -> Subject:
        """The data and the model of a run.

        Raises:
            ValueError, OSError: Where they are not at hand.
        """
        with self._lock:
            known = self._kept.get(record.run.digest)
            if known is None or known[0] is not record:
                subject = Subject(record, self._parts_of(record.run.folder), self._runs)
                known = self._kept[record.run.digest] = record, subject
            self._kept.move_to_end(record.run.digest)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return known[1]


class _InLayer(nn.Module):
    """A model whose Grad-CAM is asked for in another layer than its own."""

    def __init__(self, model: Model, layer: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._layer = (layer,)  # no child of its own: the model's names stay as they are

    @property
    def cam_layer(self) -> nn.Module:
        return self._layer[0]

    def forward(self, x: Any) -> Tensor:
        outputs: Tensor = self.model(x)
        return outputs


def webp(picture: Image.Image, side: int = _SIDE) -> bytes:
    """An image as a browser takes it, no larger than it is shown; a tiny one as it is."""
    image = shrunk(picture, side)
    return images.webp(image, quality=85, lossless=max(image.size) <= 64)
