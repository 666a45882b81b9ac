"""Methods by their word, and the method that saved slices are of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
from jaxtyping import Float

from weakspot import plugins
from weakspot.methods.base import AuditedRows, Method, UnknownMethod
from weakspot.predictions import Predictions
from weakspot.slices import Slices, Weights

_PACKAGE = "weakspot.methods"
_SHARED_MODULES = (  # every other module of the package is a method
    "base",
    "canonical_order",
    "discriminant",
    "distributed",
    "expectation_maximization",
    "float32_products",
    "ordered_examples",
    "principal_components",
    "registry",
    "residuals",
    "setting_checks",
    "torch_processes",
)


def words() -> tuple[str, ...]:
    """Return the words of the methods of this package and of plug-ins, in alphabetical order, importing none."""
    return tuple(sorted({*_own_words(), *plugins.choices("method")}))


@cache
def _own_words() -> frozenset[str]:
    modules = iter_modules(import_module(_PACKAGE).__path__)
    return frozenset(module.name for module in modules if module.name not in _SHARED_MODULES)


def find(word: str) -> type[Method]:
    """Return the method of a word: of this package, any other that has been imported, or one of a plug-in.

    Raises:
        ValueError: For an unknown word; the message names the known ones. For a plug-in's method that cannot be
            imported, or is of another word.
    """
    if word in _own_words():
        import_module(f"{_PACKAGE}.{word}")
    methods = _imported(word)
    target = None if methods else plugins.method_target(word)
    if target is not None:
        try:
            import_module(target.rpartition(".")[0])
        except ImportError as error:
            raise ValueError(
                f"the method of {word}, {target}, cannot be imported ({error}); install it"
            ) from error
        methods = _imported(word)
        if not methods:
            raise other_word(target, word)
    if not methods:
        raise ValueError(
            f"no method is known by the word {word!r}; known: {', '.join(words())}; a method of your own is known "
            f"once its module is imported, or by a file {plugins.FOLDER}/method/{word}.yaml"
        )
    return min(methods, key=lambda method: not method.__module__.startswith(_PACKAGE + "."))


def other_word(target: str, word: str) -> ValueError:
    """Return the error for a plug-in's class that does not bear the word of its file, by which saved slices find it."""
    return ValueError(f"{target} is the method of {word}, but its class does not say so: word = {word!r}")


def _imported(word: str) -> list[type[Method]]:
    return [method for method in _subclasses(Method) if vars(method).get("word") == word]


def method_of(slices: Slices) -> Method:
    """Return the fitted method that slices are of, with the settings they were saved with.

    Slices of a method that is not known here get an `UnknownMethod`, which judges every example as it is recorded,
    and whose `membership` raises a ValueError.
    """
    try:
        method = find(slices.method)
    except ValueError:
        method = UnknownMethod
    return method.of(slices)


def apply(slices: Slices, p: Predictions) -> Float[np.ndarray, "n k"]:
    """Return how much the examples of `p` belong to each of these slices (n, k), fitted or loaded, of any method.

    Raises:
        ValueError: Where the method is unknown, where the slices hold nothing that could be applied, or where the
            embeddings have another width, or another task, than those the slices were found in.
    """
    return method_of(slices).membership(p)


def weights_of(slices: Slices, p: Predictions) -> Weights:
    """Return how much the examples belong, as `apply`, but by slice (k, n), and sparse where the method makes it so."""
    return method_of(slices).weights(p)


def audit_of(slices: Slices, p: Predictions) -> AuditedRows:
    """Return the examples of `p` that the method of these slices judges, and by what."""
    return method_of(slices).audited(p)


def _subclasses(method: type) -> Iterator[type[Method]]:
    """Yield all subclasses, at any depth."""
    direct: list[type[Method]] = method.__subclasses__()
    for subclass in direct:
        yield subclass
        yield from _subclasses(subclass)
