"""Every dataset, model and method can be imported from its package, and importing the package alone is cheap."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from inspect import isabstract, isclass
from pkgutil import walk_packages
from typing import Any

import pytest

import weakspot
from paths import ROOT
from weakspot import methods

PACKAGES = {"datasets": "Dataset", "models": "Model"}


def classes(package: str, base: str) -> dict[str, Any]:
    """The classes below `base` that the package's modules define, by name, private ones left out."""
    home = import_module(f"weakspot.{package}")
    modules = [import_module(m.name) for m in walk_packages(home.__path__, f"{home.__name__}.")]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isclass(value)
        and value.__module__ == module.__name__
        and issubclass(value, getattr(home, base))
        and not name.startswith("_")
    }


@pytest.mark.parametrize(("package", "base"), PACKAGES.items())
def test_every_class_can_be_imported_from_its_package(package: str, base: str) -> None:
    home, defined = import_module(f"weakspot.{package}"), classes(package, base)
    assert sum(not isabstract(value) for value in defined.values()) >= 10
    assert {name: getattr(home, name, None) for name in defined} == defined
    assert set(defined) <= set(home.__all__) <= set(dir(home))
    assert all(hasattr(home, name) for name in home.__all__)
    with pytest.raises(AttributeError, match=f"module 'weakspot.{package}' has no attribute 'Nothing'"):
        _ = home.Nothing


def test_every_method_can_be_imported_from_its_package() -> None:
    for word in methods.words():
        found = methods.find(word)
        assert getattr(methods, found.__name__) is found
        assert found.__name__ in {*methods.__all__} & {*dir(methods)}
        assert getattr(weakspot, found.__name__) is found
        assert found.__name__ in {*weakspot.__all__} & {*dir(weakspot)}


@pytest.mark.parametrize("package", [*PACKAGES, "methods"])
def test_classes_in_configurations_can_be_imported_from_their_package(package: str) -> None:
    targets = {
        target
        for file in (ROOT / "configs" / package.removesuffix("s")).glob("*.yaml")
        for target in re.findall(r"_target_: (\S+)", file.read_text())
    }
    home = import_module(f"weakspot.{package}")
    for target in targets:
        module, _, name = target.rpartition(".")
        assert getattr(home, name) is getattr(import_module(module), name)
    assert len(targets) >= 9


def test_a_package_imports_no_library_before_a_name_is_used() -> None:
    code = "import sys, weakspot.datasets, weakspot.models; print(*{'torch', 'numpy', 'pyarrow'} & {*sys.modules}); "
    code += "import weakspot.methods; print(*{'torch', 'numba', 'torchvision'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
