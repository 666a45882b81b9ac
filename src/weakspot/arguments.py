"""Checks of settings against the signature of the class or function that takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a path",
    NoneType: "null",
}
"""Types of settings in plain words."""

_LISTS = (Sequence, list, tuple, Collection)


def check_arguments(
    target: Callable[..., Any],
    settings: Mapping[str, Any],
    key: str,
    passed_later: Collection[str] = (),
    positional: int = 0,
) -> dict[str, Any]:
    """Return the settings as `target` takes them; numbers become strings where it expects strings.

    Args:
        target: A class or function.
        settings: The named arguments, as plain values.
        key: The prefix of the settings on the command line, such as "dataset".
        passed_later: Names of the arguments that the caller passes later, in the call.
        positional: How many positional arguments the caller passes.

    Raises:
        ValueError: A setting is unknown or of the wrong type, or a required one is missing.
    """
    signature = inspect.signature(target)
    parameters = dict(signature.parameters)
    named = [
        name
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [] if takes_any else [name for name in settings if name not in named]
    if unknown:
        free = named[positional:]
        near = get_close_matches(unknown[0], free, n=2, cutoff=0.6)
        raise ValueError(
            f"There is no setting {f'{key}.{unknown[0]}'!r}"
            + (
                f". Did you mean {' or '.join(f'{key}.{name}' for name in near)}?"
                if near
                else f": {_target_name(target)} does not take it; {_list_settings(key, free, passed_later)}"
            )
        )
    needed = [name for name in named if parameters[name].default is inspect.Parameter.empty]
    missing = [name for name in needed if name not in settings and name not in passed_later][positional:]
    if missing:
        raise ValueError(
            f"{key}.{missing[0]} must be given: {_target_name(target)} needs it; add {key}.{missing[0]}=…"
        )
    hints = _annotations(target)
    return {name: _convert(value, hints.get(name, Any), f"{key}.{name}") for name, value in settings.items()}


def _list_settings(key: str, names: Sequence[str], passed_later: Collection[str]) -> str:
    known = [f"{key}.{name}" for name in names if name not in passed_later]
    return f"its settings are: {', '.join(known)}" if known else "it has none"


def _target_name(target: Callable[..., Any]) -> str:
    return str(getattr(target, "__name__", target))


def _annotations(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations, or none if they use names that are imported for type checkers only."""
    function = getattr(target, "__init__", target) if isinstance(target, type) else target  # may be inherited
    try:
        return get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def _convert(value: Any, kind: Any, name: str) -> Any:
    is_object = isinstance(value, Mapping) and "_target_" in value  # an object to build later
    if is_object or _fits(value, kind):
        return value
    if _fits("", kind) and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{name} must be {_type_name(kind)}, not {value_as_typed(value)}")


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a plain value has the annotated type; types that are not handled here accept anything."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if kind in (None, NoneType):
        return value is None
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in (str, Path):
        return isinstance(value, str | PathLike)
    if origin in _LISTS or kind in _LISTS:
        inner = parts[0] if parts else Any
        return isinstance(value, list | tuple) and all(
            _fits(_as_text(entry, inner), inner) for entry in value
        )
    if origin in (Mapping, dict) or kind in (Mapping, dict):
        return isinstance(value, Mapping)
    return True


def _as_text(value: Any, kind: Any) -> Any:
    """Turn numbers in a list into strings: a user who writes classes as 0 and 1 means their names."""
    return str(value) if kind is str and isinstance(value, int | float) else value


def _type_name(kind: Any) -> str:
    """Return the name of a type, in plain words if `_fits` handles it."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type_name(part) for part in parts))
    if origin is Literal:
        return " or ".join(map(str, parts))
    if origin in _LISTS or kind in _LISTS:
        inner = TYPE_NAMES.get(parts[0]) if parts else None
        return f"a list, each {inner}" if inner else "a list"
    if origin in (Mapping, dict) or kind in (Mapping, dict):
        return "names with values, {name: value}"
    return TYPE_NAMES.get(kind, str(kind))


def value_as_typed(value: Any) -> str:
    """Return a value as it is typed on the command line."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{value_as_typed(one)}' for key, one in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(value_as_typed, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
