"""What makes the products of two settings different, so that nothing made from others is picked up.

Everything that is set counts, unless a class says that it makes no difference: a setting that nobody thought of
can then cost a run, but never a wrong result.
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
"""Code whose edits are releases; everyone else's is told apart by what is written in it."""

_READ = 1 << 30  # bytes of a folder


class Identified:
    """A class whose instances are built from settings, and which says what those settings change."""

    no_difference: ClassVar[frozenset[str]] = frozenset()
    """Arguments of the constructor that change no result: where files lie, what is only drawn. A subclass adds
    its own, `no_difference = Parent.no_difference | {"cache"}`."""

    @classmethod
    def identity(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What makes the products of an instance with these settings different from those of any other.

        Args:
            settings: The constructor's arguments by name, as plain values.

        Returns:
            Plain values: the class, the source of a user's class, and every argument but those of
            `no_difference`, in which files stand for what is in them.
        """
        root = settings.get("root")
        told = {name: value for name, value in settings.items() if name not in cls.no_difference}
        return {**described(cls), "settings": contents(told, None if root is None else Path(root))}


def described(target: Any) -> dict[str, str]:
    """The import path of a class or function, and the digest of its source where it is a user's."""
    name = f"{target.__module__}.{target.__qualname__}"
    return {"target": name, "source": source_digest(target)}


def contents(value: Any, root: Path | None = None) -> Any:
    """A setting as plain values, in which paths stand for what lies there.

    A file or folder becomes the digest of its content; a file is looked for in `root`, too. Where an object is
    described (by `_target_`), the digest of its source comes with it.
    """
    if isinstance(value, Mapping):
        plain = {str(name): contents(entry, root) for name, entry in value.items()}
        if isinstance(value.get("_target_"), str):
            plain["_source_"] = _source_at(value["_target_"])
        return plain
    if isinstance(value, list | tuple):
        return [contents(entry, root) for entry in value]
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
    """The first 12 hex digits of the SHA-256 of a file's content: tells one checkpoint from another."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def folder_digest(folder: str | Path) -> str:
    """As `digest`, of all files below a folder: their names and content, or where that is more than a gigabyte
    their names, sizes and times of change, as reading them would take as long as an epoch."""
    folder = Path(folder)
    paths = sorted(Path(place, name) for place, _, names in os.walk(folder) for name in names)
    files = {path: path.stat() for path in paths if path.is_file()}
    small = sum(about.st_size for about in files.values()) <= _READ
    sha = hashlib.sha256()
    for path, about in files.items():
        what = digest(path) if small else f"{about.st_size} {about.st_mtime_ns}"
        sha.update(os.fsencode(f"{path.relative_to(folder)} {what}\0"))
    return sha.hexdigest()[:12]


def source_digest(target: Any) -> str:
    """Digest of the files that a class or function is written in; "" for a library's.

    These are its module, those of its base classes, and the modules of the same package or folder that they use.
    """
    sha = hashlib.sha256()
    modules = sorted(_modules(target), key=lambda module: module.__name__)
    for module in modules:
        sha.update(f"{module.__name__} {digest(str(module.__file__))}".encode())
    return sha.hexdigest()[:12] if modules else ""


def _source_at(path: str) -> str:
    """The same, of what an import path names; a library, which may take seconds to import, is not asked."""
    return "" if path.partition(".")[0] in _LIBRARIES else source_digest(pkgutil.resolve_name(path))


def _modules(target: Any) -> set[ModuleType]:
    """A user's own modules that `target` depends on."""
    bases = target.__mro__ if isinstance(target, type) else [target]
    homes = [sys.modules.get(str(base.__module__)) for base in bases]
    waiting = deque(home for home in homes if home is not None and _is_users(home))
    found = set(waiting)
    while waiting:
        module = waiting.popleft()
        for used in _used(module):
            if used not in found and _is_users(used) and _beside(used, module):
                found.add(used)
                waiting.append(used)
    return found


def _used(module: ModuleType) -> Iterator[ModuleType]:
    for value in list(vars(module).values()):
        home = value if isinstance(value, ModuleType) else None
        if isinstance(value, type | FunctionType):
            home = sys.modules.get(str(value.__module__))
        if home is not None:
            yield home


def _is_users(module: ModuleType) -> bool:
    package = module.__name__.partition(".")[0]
    file = getattr(module, "__file__", None)
    return package not in (_LIBRARIES | sys.stdlib_module_names) and bool(file) and os.path.isfile(str(file))


def _beside(one: ModuleType, other: ModuleType) -> bool:
    """Whether two modules are of one package, or lie in one folder."""
    if one.__name__.partition(".")[0] == other.__name__.partition(".")[0]:
        return True
    return Path(str(one.__file__)).parent == Path(str(other.__file__)).parent
