"""Methods by their word: which there are, and the one that saved slices are of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
from jaxtyping import Float

from weakspot.methods.base import Audited, Method, Unknown
from weakspot.predictions import Predictions
from weakspot.slices import Slices, Weights

_PACKAGE = "weakspot.methods"
_NO_METHODS = (  # what they share
    "base",
    "discriminant",
    "distributed",
    "float32_products",
    "order",
    "parts",
    "registry",
    "residuals",
    "sharded",
    "space",
)


@cache
def words() -> tuple[str, ...]:
    """The words of the methods in this package, in alphabetical order; none of them is imported for it."""
    modules = iter_modules(import_module(_PACKAGE).__path__)
    return tuple(sorted(module.name for module in modules if module.name not in _NO_METHODS))


def find(word: str) -> type[Method]:
    """The method of a word: one of this package, or any other subclass of `Method` that has been imported.

    Raises ValueError for an unknown word, naming the known ones.
    """
    if word in words():
        import_module(f"{_PACKAGE}.{word}")
    found = [method for method in _below(Method) if vars(method).get("word") == word]
    if not found:
        raise ValueError(
            f"no method is known by the word {word!r}; known: {', '.join(words())}; a method of your own is known "
            "once its module is imported"
        )
    return min(found, key=lambda method: not method.__module__.startswith(_PACKAGE + "."))


def restored(slices: Slices) -> Method:
    """The fitted method that slices are of, with the settings they were saved with.

    Slices of a method that is not known here are given an `Unknown` one, which judges every example as it is
    recorded, and whose `membership` says that it cannot be had.
    """
    try:
        method = find(slices.method)
    except ValueError:
        method = Unknown
    return method.of(slices)


def apply(slices: Slices, p: Predictions) -> Float[np.ndarray, "n k"]:
    """How much the examples of `p` belong to each of these slices, fitted or loaded, of whatever method.

    Raises ValueError where the method is unknown, where the slices hold nothing that could be applied, and
    where the embeddings are not of the model they were found in.
    """
    return restored(slices).membership(p)


def memberships_of(slices: Slices, p: Predictions) -> Weights:
    """`apply` by slice (k, n), sparse where the method makes it so."""
    return restored(slices).weights(p)


def audit_of(slices: Slices, p: Predictions) -> Audited:
    """The examples of `p` that the method of these slices judges, and by what."""
    return restored(slices).audited(p)


def _below(method: type) -> Iterator[type[Method]]:
    below: list[type[Method]] = method.__subclasses__()
    for one in below:
        yield one
        yield from _below(one)
