"""Methods by their word, and the method that found saved slices."""

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
    """Return the words of all methods, of this package and of plug-ins, in alphabetical order; none is imported."""
    return tuple(sorted({*_own_words(), *plugins.choices("method")}))


@cache
def _own_words() -> frozenset[str]:
    modules = iter_modules(import_module(_PACKAGE).__path__)
    return frozenset(module.name for module in modules if module.name not in _SHARED_MODULES)


def find(word: str) -> type[Method]:
    """Return the method with this word: from this package, any other imported module, or a plug-in.

    Raises:
        ValueError: If the word is unknown (the message lists the known ones), or if a plug-in's method cannot be
            imported or has another word.
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
            raise wrong_name_error(target, word)
    if not methods:
        raise ValueError(
            f"no method is known by the word {word!r}; known: {', '.join(words())}; a method of your own is known "
            f"once its module is imported, or by a file {plugins.FOLDER}/method/{word}.yaml"
        )
    return min(methods, key=lambda method: not method.__module__.startswith(_PACKAGE + "."))


def wrong_name_error(target: str, word: str) -> ValueError:
    """Return the error for a plug-in's class without the word of its file, by which saved slices find the class."""
    return ValueError(f"{target} is the method of {word}, but its class does not define word = {word!r}")


def _imported(word: str) -> list[type[Method]]:
    return [method for method in _subclasses(Method) if vars(method).get("word") == word]


def method_of(slices: Slices) -> Method:
    """Return the fitted method that found these slices, with the settings they were saved with.

    For slices of an unknown method it is an `UnknownMethod`, which judges every example as recorded, and whose
    `membership` raises a ValueError.
    """
    try:
        method = find(slices.method)
    except ValueError:
        method = UnknownMethod
    return method.of(slices)


def apply(slices: Slices, p: Predictions) -> Float[np.ndarray, "n k"]:
    """Return how much each example of `p` belongs to each of these slices (n, k), fitted or loaded, of any method.

    Raises:
        ValueError: If the method is unknown, if the slices lack what is needed to apply them, or if `p` has another
            width of embeddings or another task than the predictions that the slices were found in.
    """
    return method_of(slices).membership(p)


def weights_of(slices: Slices, p: Predictions) -> Weights:
    """Return the memberships of `apply` by slice (k, n), sparse if the method makes them so."""
    return method_of(slices).weights(p)


def audit_of(slices: Slices, p: Predictions) -> AuditedRows:
    """Return the examples of `p` that the method of these slices judges, and the record it judges them by."""
    return method_of(slices).audited(p)


def _subclasses(method: type) -> Iterator[type[Method]]:
    """Yield all subclasses, at any depth."""
    direct: list[type[Method]] = method.__subclasses__()
    for subclass in direct:
        yield subclass
        yield from _subclasses(subclass)
