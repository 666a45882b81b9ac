"""The identity of settings, under which checkpoints and predictions are stored and found again.

Every setting counts unless its class declares that it makes no difference. So a setting that nobody thought of can
cost another run, but never lead to a wrong result.
"""

from __future__ import annotations

import hashlib
import os
import pkgutil
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, ClassVar

_LIBRARIES = {"weakspot", "torch", "torchvision", "pytorch_lightning", "transformers", "timm"}
"""Packages whose code changes only with a release; any other code is identified by its source."""

_READ = 1 << 30  # bytes; a larger folder is identified by sizes and times instead of content


class Identifiable:
    """Base of classes that are built from settings; declares which settings change a result."""

    no_difference: ClassVar[frozenset[str]] = frozenset()
    """Constructor arguments that change no result, such as paths and display settings. A subclass adds its own,
    `no_difference = Parent.no_difference | {"cache"}`."""

    @classmethod
    def identity(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what distinguishes the results of an instance with these settings from those of any other.

        Args:
            settings: The constructor's arguments by name, as plain values.

        Returns:
            Plain values: the class, the digest of its source if it is a user's, and every argument except those in
            `no_difference`, with files replaced by digests of their content.
        """
        root = settings.get("root")
        relevant = {name: value for name, value in settings.items() if name not in cls.no_difference}
        return {
            **describe_target(cls),
            "settings": content_identity(relevant, None if root is None else Path(root)),
        }


def describe_target(target: Any) -> dict[str, str]:
    """Return the import path of a class or function, and the digest of its source if it is a user's."""
    name = f"{target.__module__}.{target.__qualname__}"
    return {"target": name, "source": source_digest(target)}


def content_identity(value: Any, root: Path | None = None) -> Any:
    """Return a setting as plain values, with paths replaced by digests of the files or folders there.

    If a mapping names an object to build (`_target_`), the digest of its source is added.

    Args:
        value: The setting.
        root: A folder in which files are also looked for.
    """
    if isinstance(value, Mapping):
        plain = {str(name): content_identity(entry, root) for name, entry in value.items()}
        if isinstance(value.get("_target_"), str):
            plain["_source_"] = _source_at(value["_target_"])
        return plain
    if isinstance(value, list | tuple):
        return [content_identity(entry, root) for entry in value]
    if not isinstance(value, str | os.PathLike):
        return value
    if not str(value):
        return value
    given = Path(value).expanduser()
    for file in [given] if root is None else [given, root.expanduser() / given]:
        if os.path.isfile(file):
            return {"file": digest(file)}
    return {"folder": folder_digest(given)} if os.path.isdir(given) else str(value)


def digest(path: str | Path) -> str:
    """Return the first 12 hex digits of the SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def folder_digest(folder: str | Path) -> str:
    """Return the digest of all files below a folder, by their names and content.

    Above a gigabyte, names, sizes and modification times are used instead: reading the content would take as long as
    an epoch.
    """
    folder = Path(folder)
    paths = sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    files = {path: path.stat() for path in paths if path.is_file()}
    small = sum(status.st_size for status in files.values()) <= _READ
    sha = hashlib.sha256()
    for path, status in files.items():
        content = digest(path) if small else f"{status.st_size} {status.st_mtime_ns}"
        sha.update(os.fsencode(f"{path.relative_to(folder)} {content}\0"))
    return sha.hexdigest()[:12]


def source_digest(target: Any) -> str:
    """Return the digest of the source files of a class or function; "" for a library's.

    These are its module, those of its base classes, and the modules of the same package or folder that they use.
    """
    sha = hashlib.sha256()
    modules = sorted(_modules(target), key=lambda module: module.__name__)
    for module in modules:
        sha.update(f"{module.__name__} {digest(str(module.__file__))}".encode())
    return sha.hexdigest()[:12] if modules else ""


def _source_at(path: str) -> str:
    """Return the source digest of an import path; a library, which may take seconds to import, is not imported."""
    return "" if path.partition(".")[0] in _LIBRARIES else source_digest(pkgutil.resolve_name(path))


def _modules(target: Any) -> set[ModuleType]:
    """Return the user's own modules that `target` depends on."""
    bases = target.__mro__ if isinstance(target, type) else [target]
    defining = [sys.modules.get(str(base.__module__)) for base in bases]
    queue = deque(module for module in defining if module is not None and _is_users(module))
    modules = set(queue)
    while queue:
        module = queue.popleft()
        for used in _used_modules(module):
            if used not in modules and _is_users(used) and _belong_together(used, module):
                modules.add(used)
                queue.append(used)
    return modules


def _used_modules(module: ModuleType) -> Iterator[ModuleType]:
    for value in list(vars(module).values()):
        used = value if isinstance(value, ModuleType) else None
        if isinstance(value, type | FunctionType):
            used = sys.modules.get(str(value.__module__))
        if used is not None:
            yield used


def _is_users(module: ModuleType) -> bool:
    package = module.__name__.partition(".")[0]
    file = getattr(module, "__file__", None)
    return package not in (_LIBRARIES | sys.stdlib_module_names) and bool(file) and os.path.isfile(str(file))


def _belong_together(one: ModuleType, other: ModuleType) -> bool:
    """Return whether two modules belong to the same package or folder."""
    if one.__name__.partition(".")[0] == other.__name__.partition(".")[0]:
        return True
    return Path(str(one.__file__)).parent == Path(str(other.__file__)).parent
