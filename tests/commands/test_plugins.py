"""Plug-ins: choices from `conf/` in the working directory and from installed packages, wherever choices are used."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

import extending_page
from paths import ROOT
from processes import quiet_environment
from shell import Shell
from weakspot import Slices, methods, plugins
from weakspot.commands import doctor
from weakspot.commands.browse import upload_choices
from weakspot.config.choices import all_choices
from weakspot.config.schemas import BrowseConfig
from weakspot.methods.base import UnknownMethod
from weakspot.methods.registry import find, method_of

PACKAGE = "stripes_pack"


def install(site: Path, folder: str, name: str = "stripes-pack") -> None:
    """Write what pip leaves in site-packages for a package that names a folder of configuration files."""
    about = site / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[weakspot.configs]\nstripes = {folder}\n")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty working directory; modules that a test imports from it are removed afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    gc.collect()  # until a test is over, pytest keeps alive the page's method that it imported
    yield tmp_path
    imported = [
        name for name in sys.modules if name.partition(".")[0] in ("ball", "lines", "stripes", PACKAGE)
    ]
    for name in imported:
        del sys.modules[name]
    if imported:
        gc.collect()  # until then its base class still knows the class


@pytest.fixture
def local(empty):
    """A working directory with the files of the page on extending weakspot."""
    extending_page.write_files(empty)
    return empty


@pytest.fixture
def installed(empty):
    """The same files as a package on the import path."""
    site = empty / "site"
    extending_page.write_files(site, PACKAGE)
    install(site, f"{PACKAGE}.conf")
    sys.path.append(str(site))
    return empty


def test_without_plugins_no_choices_are_added(empty):
    assert plugins.folders() == ()
    assert plugins.choices("dataset") == {}
    assert plugins.method_target("ball") is None


@pytest.mark.parametrize(("kind", "origin"), [("local", "conf/"), ("installed", "stripes-pack")])
def test_choices_are_listed_without_importing_anything(kind, origin, request):
    request.getfixturevalue(kind)
    (folder,) = plugins.folders()
    assert folder.origin == origin
    assert {group: [*plugins.choices(group)] for group in ("dataset", "model", "method", "trainer")} == {
        "dataset": ["stripes"],
        "model": ["lines"],
        "method": ["ball"],
        "trainer": [],
    }
    assert "stripes" in all_choices("dataset")
    assert {"lines", "resnet34", "small_cnn"} <= {*all_choices("model")}
    assert "ball" in methods.words()
    offered = upload_choices(BrowseConfig())
    assert ("stripes" in offered.datasets, "lines" in offered.models, "ball" in offered.methods) == (
        True,
    ) * 3
    assert "module" not in offered.models
    assert [check.text for check in doctor._plugins()] == [
        f"{origin} brings dataset=stripes, model=lines, method=ball"
    ]
    assert not {"stripes", "lines", "ball", PACKAGE} & {*sys.modules}


def test_the_method_of_an_installed_package_is_found_by_its_word(installed):
    method = find("ball")
    assert (method.__module__, method.word) == (f"{PACKAGE}.ball", "ball")


def test_the_working_directory_is_imported_only_once_it_is_importable(local):
    """Saved slices name a method: the explorer, which imports nothing from here, must not start to."""
    with pytest.raises(ValueError, match=r"the method of ball, ball\.Ball, cannot be imported \(No module"):
        find("ball")
    slices = Slices("ball", np.array(["a"]), np.zeros((0, 1)), [])
    assert isinstance(method_of(slices), UnknownMethod)
    plugins.make_working_directory_importable()
    plugins.make_working_directory_importable()
    assert sys.path.count(str(local)) == 1
    assert find("ball").__module__ == "ball"


def test_a_class_that_defines_another_word_is_refused(local):
    file = local / "ball.py"
    file.write_text(file.read_text().replace('word = "ball"', 'word = "sphere"'))
    plugins.make_working_directory_importable()
    with pytest.raises(
        ValueError, match=r"ball\.Ball is the method of ball, but its class does not define word = 'ball'"
    ):
        find("ball")


def test_a_package_without_its_folder_is_skipped_and_reported(installed):
    install(installed / "site", "nowhere.conf", name="torn")
    assert [folder.origin for folder in plugins.folders()] == ["stripes-pack"]
    states = {check.text: check.state for check in doctor._plugins()}
    (sentence,) = [text for text in states if text.startswith("torn")]
    assert states[sentence] == "missing"
    assert sentence.startswith(
        "torn names nowhere.conf as its folder of configuration files, which does not exist"
    )


@pytest.mark.parametrize(
    "value", ["../../etc", "my-pack", "", "..", "os:path", "__main__", "a." * 5000 + "b"]
)
def test_an_invalid_package_name_breaks_nothing(installed, value):
    install(installed / "site", value, name="torn")
    (installed / "site" / "torn-1.0.dist-info" / "METADATA").unlink()  # as a partial uninstall leaves it
    assert [folder.origin for folder in plugins.folders()] == ["stripes-pack"]
    (sentence,) = plugins.missing_folders()
    assert sentence.startswith(f"stripes names {value[:100]} as its folder")


def test_help_and_suggestions_include_plugins(tmp_path):
    shell = Shell(tmp_path)
    extending_page.write_files(tmp_path)
    manual = re.sub(r"\s+", " ", shell("discover", "--help"))
    assert "stripes Images with upright or level stripes, thick or thin. No files. (conf/)" in manual
    assert "lines Filters over rows and columns, for small images: seconds on a CPU. (conf/)" in manual
    assert "of method=ball" not in manual
    manual = re.sub(r"\s+", " ", shell("discover", "method=ball", "dataset=stripes", "dataset.n=7", "--help"))
    assert "of method=ball method.radius=0.5 as a multiple of" in manual
    assert re.search(r"of dataset=stripes dataset.root=null the folder of its files .* dataset.n=7 ", manual)
    for wrong, right in {"dataset": "stripe", "model": "line", "method": "bal"}.items():
        word = extending_words()[wrong]
        said = shell("discover", f"{wrong}={right}", fails=2)
        assert f"There is no {wrong}={right}. Did you mean" in said
        assert f"{wrong}={word}" in said
    said = shell("discover", "dataset=stripes", "dataset.nn=3", fails=2)
    assert said == "There is no setting 'dataset.nn'. Did you mean dataset.n?\n"


def extending_words() -> dict[str, str]:
    return {"dataset": "stripes", "model": "lines", "method": "ball"}


@pytest.mark.parametrize(
    "words", [["dataset=digits"], ["dataset=digits", "dataset.n=3"], ["dataset=stripes"]]
)
def test_a_choice_defined_in_two_files_is_refused(tmp_path, words):
    """Whether the command line chooses it, with or without one of its settings, or another file does."""
    extending_page.write_files(tmp_path)
    data, models = tmp_path / "conf" / "dataset", tmp_path / "conf" / "model"
    (data / "digits.yaml").write_text((data / "stripes.yaml").read_text())
    (models / "small_cnn.yaml").write_text((models / "lines.yaml").read_text())
    said = Shell(tmp_path)("discover", "logger=none", *words, fails=2)
    word = "model=small_cnn" if words == ["dataset=stripes"] else "dataset=digits"
    assert said == (
        f"{word} is in weakspot and in conf/, so it is unclear which is meant: give the file "
        f"{word.replace('=', '/')}.yaml in conf/ another name\n"
    )
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            b"n: [1\nm: 2\n",
            "FILE is not YAML: line 2, column 2: while parsing a flow sequence, expected ',' or ']', but got ':'",
        ),
        (b"a: &x [*x]\n", "FILE cannot be used: maximum recursion depth exceeded"),
        (b"_target_: \xff\n", "FILE cannot be used: 'utf-8' codec can't decode byte 0xff in position 10"),
        (b"3\n", "FILE cannot be used: Invalid loaded object type: int"),
        (b"n: !!float\n", "FILE cannot be used: string index out of range"),
        (b"defaults: [nothing]\n", "FILE cannot be used: In 'method/mine': Could not load 'method/nothing'."),
        (b"n: ${oops(}\n", "FILE cannot be used: token recognition error at: '('"),
        (b"# @package [[a\nn: 1\n", "FILE cannot be used: @package [[a is neither _global_ nor a key"),
        (b"# @package nowhere\nn: 1\n", "FILE: There is no setting 'nowhere'; --help lists them"),
        (b"", "method=mine names no class: its file needs a line _target_: module.Class"),
        (b"- 1\n", "method=mine names no class"),
        (b"note: '${'\n", "FILE cannot be used: no viable alternative at input '${'"),
        (b"_target_: 3\n", "method=mine names no class"),
        (b"_target_: ???\n", "method=mine names no class"),
        (b"1: 2\n", "method=mine: its file has keys that are not text: [1]"),
    ],
)
@pytest.mark.parametrize("folder", ["conf", "other"])
def test_a_file_that_cannot_be_used_is_named_before_anything_runs(text, said, folder, tmp_path):
    """In the working directory, and in a folder named on the command line."""
    file = tmp_path / folder / "method" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(text)
    options = [] if folder == "conf" else ["--config-dir", folder]
    printed = Shell(tmp_path)("discover", *options, "method=mine", fails=2)
    assert printed.count("\n") == 1
    assert printed.startswith(said.replace("FILE", str(file)))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("dataset: {nn: 3}", "There is no setting 'dataset.nn'. Did you mean dataset.n?"),
        (
            "trainning: {epochs: 3}",
            "FILE: There is no setting 'trainning'. Did you mean training or trainer?",
        ),
        ("training: {epoch: 3}", "FILE: There is no setting 'training.epoch'. Did you mean training.epochs?"),
        ("hydra: {outputs: 3}", "FILE: There is no setting 'hydra.outputs'; --help lists them"),
        ("epochs: 3", "FILE: There is no setting 'epochs'. Did you mean training.epochs?"),
        ("method: {n_slice: 3}", "There is no setting 'method.n_slice'. Did you mean method.n_slices?"),
    ],
)
def test_a_misspelt_setting_in_a_file_is_reported_as_on_the_command_line(setting, said, tmp_path):
    extending_page.write_files(tmp_path)
    file = tmp_path / "conf" / "dataset" / "mine.yaml"
    head = "# @package _global_\ndefaults: [stripes, override /model: lines, _self_]\n"
    file.write_text(f"{head}{setting}\n")
    printed = Shell(tmp_path)("discover", "dataset=mine", "logger=none", fails=2)
    assert printed.removeprefix("loading libraries …\n") == said.replace("FILE", str(file)) + "\n"


def test_a_misspelt_setting_is_reported_for_a_file_that_another_file_chooses(tmp_path):
    """The file is that of a method with a schema, whose other settings are not on the command line."""
    conf = tmp_path / "conf"
    for name, text in {
        "method/mine": "defaults: [/schema/method/spotlight@_here_, _self_]\n_target_: a.B\nmin_sise: 3\n",
        "experiment/all": "# @package _global_\ndefaults: [override /method: mine, _self_]\n",
    }.items():
        (conf / name).parent.mkdir(parents=True)
        (conf / f"{name}.yaml").write_text(text)
    said = Shell(tmp_path)("discover", "experiment=all", fails=2)
    assert said.startswith(
        f"{conf}/method/mine.yaml: There is no setting 'method.min_sise'. Did you mean method.min_"
    )


def test_an_interpolation_that_cannot_be_read_is_refused(tmp_path):
    """Hydra composes it, and OmegaConf does not report which setting contains it."""
    file = tmp_path / "conf" / "method" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("_target_: weakspot.methods.kmeans.Kmeans\nseed: ${:x}\n")
    printed = Shell(tmp_path)("discover", "method=mine", fails=2).removeprefix("loading libraries …\n")
    assert printed == (
        "a setting holds a ${…} that cannot be read: no viable alternative at input '${:'; --cfg job shows all "
        "settings of a command\n"
    )


@pytest.mark.parametrize(
    ("group", "target", "said"),
    [
        ("method", "json.JSONDecoder", "must be a class that inherits from weakspot.methods.Method"),
        ("model", "json.JSONDecoder", "must be a class that inherits from weakspot.models.Model"),
        ("dataset", "builtins.dict", "must be a class that inherits from weakspot.datasets.Dataset"),
        ("method", "sys.path", "is neither a class nor a function"),
        ("method", "json:JSONDecoder", "must be written with dots only: package.module.Class"),
    ],
)
def test_targets_that_are_not_methods_models_or_datasets_are_refused(group, target, said, tmp_path):
    printed = Shell(tmp_path)("discover", f"{group}._target_={target}", fails=2)
    assert printed == f"loading libraries …\n{group}._target_={target} {said}\n"


def test_the_doctor_names_a_file_that_cannot_be_read(empty):
    (empty / "conf" / "model").mkdir(parents=True)
    (empty / "conf" / "model" / "mine.yaml").write_text("a: [")
    brought, broken = doctor._plugins()
    assert (brought.text, brought.state) == ("conf/ brings model=mine", "ok")
    assert (broken.state, broken.text) == (
        "broken",
        f"{empty}/conf/model/mine.yaml is not YAML: line 1, column 5: while parsing a flow node, expected the "
        "node content, but found '<stream end>'",
    )


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("raise ValueError('of the method')", "of the method (ball.py, line LINE)"),
        ("raise ValueError", "ValueError (ball.py, line LINE)"),
        (
            "np.zeros(3) + np.zeros(4)",
            "operands could not be broadcast together with shapes (3,) (4,)  (ball.py, line L",
        ),
        ("open('nothing.txt')", "nothing.txt: No such file or directory"),
        ("check_at_least(self, radius=1)", "radius=0.5 must be at least 1"),
    ],
)
def test_an_error_in_a_methods_own_code_is_reported_with_its_place(statement, said, local):
    file = local / "ball.py"
    text = file.read_text().replace(
        "        self.check(len(p)", f"        {statement}\n        self.check(len(p)", 1
    )
    file.write_text(text)
    line = text[: text.index(f"        {statement}\n")].count("\n") + 1
    np.savez(local / "p.npz", embeddings=np.eye(40), losses=np.arange(40.0))
    printed = Shell(local)("discover", "method=ball", "predictions=p.npz", "logger=none", fails=1)
    last = printed.splitlines()[-1]
    assert last.replace(f"line {line})", "line LINE)").startswith(said)


@pytest.mark.parametrize("line", ['word = "sphere"', ""])
def test_a_class_with_another_word_or_none_is_refused_before_the_search(line, local):
    """Its slices could not be applied later: `slices=RUN` finds the method by its word."""
    file = local / "ball.py"
    file.write_text(file.read_text().replace('word = "ball"', line))
    np.savez(local / "p.npz", embeddings=np.eye(40), losses=np.arange(40.0))
    printed = Shell(local)("discover", "method=ball", "predictions=p.npz", "logger=none", fails=2)
    said = "ball.Ball is the method of ball, but its class does not define word = 'ball'"
    assert printed == f"loading libraries …\n{said}\n"


def test_a_broken_file_does_not_hide_an_error_in_the_command(tmp_path):
    """All methods, including those of plug-ins, are composed to list the ones that have a setting."""
    methods = tmp_path / "conf" / "method"
    methods.mkdir(parents=True)
    (methods / "one.yaml").write_text("n: !!float\n")
    (methods / "two.yaml").write_text("# @package model\n_target_: ball.Ball\n")
    said = Shell(tmp_path)("discover", "n_clusters=3", fails=2)
    assert said == (
        "There is no setting 'n_clusters' in the chosen method; choose one that has method.n_clusters: method=kmeans\n"
    )


@pytest.mark.parametrize("error", ["RecursionError", "IndexError", "yaml.YAMLError"])
def test_a_bug_in_a_method_is_not_reported_as_an_error_in_the_command(error, local):
    """Whatever the error, frames are printed from the method's file on and the exit code is 1; the log has all."""
    file = local / "ball.py"
    fails = f"        raise {error}('of the method')\n        self.check"
    file.write_text("import yaml\n" + file.read_text().replace("        self.check", fails, 1))
    np.savez(local / "p.npz", embeddings=np.eye(40), losses=np.arange(40.0))
    line = file.read_text().partition(fails)[0].count("\n") + 1
    words = ("method=ball", "predictions=p.npz", "logger=none")
    said = Shell(local)("discover", *words, fails=1)
    (log,) = local.glob("outputs/discover/*/*/discover.log")
    place = f"""  File "{file}", line {line}, in fit
    raise {error}('of the method')
"""
    kind = error.rpartition(".")[2]
    title = f"Traceback (most recent call last; all of it is in {log}):"
    assert said.endswith(f"{title}\n{place}{kind}: of the method (ball.py, line {line})\n")
    assert said.count("  File ") == 1
    written = log.read_text()
    assert place in written
    assert "weakspot/pipeline/search.py" in written
    whole = Shell(local)("discover", *words, fails=1, HYDRA_FULL_ERROR="1")
    assert place in whole
    assert whole.endswith(f"{kind}: of the method\n")
    assert "weakspot/pipeline/search.py" in whole


@pytest.mark.parametrize(
    ("statement", "said", "workers"),
    [
        ("{}['width']", "KeyError: 'width' (stripes.py, line LINE)", 0),
        ("{}['width']", "KeyError: 'width' (stripes.py, line LINE)", 1),
        ("raise ValueError('no width')", "no width (stripes.py, line LINE)", 1),
        ("1 +", "SyntaxError: invalid syntax (stripes.py, line LINE)", 0),
    ],
)
def test_a_bug_in_a_dataset_is_located_even_in_a_data_loading_process(statement, said, workers, local):
    file = local / "stripes.py"
    head = "    def input(self, row):\n"
    before, _, after = file.read_text().partition(head)
    file.write_text(f"{before}{head}        {statement}\n{after}")
    line = before.count("\n") + 2
    words = ("dataset=stripes", "trainer=cpu", "logger=none", f"num_workers={workers}")
    # refused before it begins, like other errors in the data
    code = 2 if statement.startswith("raise") else 1
    printed = Shell(local)("train", *words, fails=code)
    assert printed.endswith(f"{said.replace('LINE', str(line))}\n")
    assert f'File "{ROOT}' not in printed


def test_files_of_plugins_are_distinguished_from_others(installed):
    (installed / "mine.py").touch()
    names = {
        installed / "mine.py": "mine.py",
        installed / "site" / PACKAGE / "ball.py": f"{PACKAGE}/ball.py",
        installed / "venv" / "site-packages" / "numpy.py": "",
        Path(plugins.__file__): "",
        Path(json.__file__): "",
        Path("<string>"): "",
    }
    assert {file: plugins.code_name(file) for file in names} == names


@pytest.mark.parametrize("packages", ["site-packages", "dist-packages"])
def test_packages_inside_the_folder_of_the_standard_library_are_plugins(packages, empty, monkeypatch):
    """As in conda and in Docker's Python images; on Debian the folder has a different name."""
    site = empty / "lib" / "python3.14" / packages
    extending_page.write_files(site, PACKAGE)
    install(site, f"{PACKAGE}.conf")
    sys.path.append(str(site))
    monkeypatch.setattr(plugins.sysconfig, "get_path", lambda name: str(site.parent))
    names = {
        site / PACKAGE / "ball.py": f"{PACKAGE}/ball.py",
        site / "numpy.py": "",
        site.parent / "json.py": "",
    }
    assert {file: plugins.code_name(file) for file in names} == names
    monkeypatch.setattr(plugins.sysconfig, "get_path", lambda name: "/usr/lib/python3.14")
    assert {file: plugins.code_name(file) for file in names} == names | {
        site.parent / "json.py": "lib/python3.14/json.py"
    }


def test_a_suggested_command_includes_the_config_dir(local):
    """In a single run and in a run of a sweep, whose processes read the same words."""
    folder = local / "of mine"
    (local / "conf").rename(folder)
    line = ("--config-dir", "of mine", "dataset=stripes", "model=lines", "upstream=require", "logger=none")
    for sweep in ([], ["-m"]):
        said = Shell(local)("infer", *sweep, *line, fails=2)
        assert f"python train.py '--config-dir={folder}' dataset=stripes model=lines" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("_target_: a.B\nroot: ${oc.env:NOPE}\nn: ???\nlist: [1, x]\n", "root=${oc.env:NOPE}"),
        ("- 1\n", "of method=mine, which has no settings"),
    ],
)
def test_help_is_shown_even_if_values_cannot_be_resolved(text, said, tmp_path):
    file = tmp_path / "conf" / "method" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert said in Shell(tmp_path)("discover", "method=mine", "--help")


def test_hidden_files_are_not_choices(empty):
    """Such as macOS and Emacs leave beside a file, and names that could not be chosen: `..yaml`."""
    (empty / "conf" / "method").mkdir(parents=True)
    for name in ("._ball.yaml", ".#ball.yaml", ".yaml", "..yaml"):
        (empty / "conf" / "method" / name).write_bytes(b"\0\xff")
    assert not plugins.choices("method")
    (brought,) = doctor._plugins()
    assert brought.text == "conf/ brings no dataset, model or method"
    (empty / "conf" / "method" / "folder.yaml").mkdir()
    assert [check.state for check in doctor._plugins()] == ["ok"]
    said = Shell(empty)("discover", "--config-dir", "conf", "method=folder", fails=2)
    assert said.startswith("There is no method=folder. There are: barlow, ")


def test_help_escapes_control_characters_and_wraps_long_names(tmp_path):
    methods = tmp_path / "conf" / "method"
    methods.mkdir(parents=True)
    (methods / f"{'long' * 30}.yaml").write_text("# Has a long name.\n_target_: a.B\n")
    (methods / "red\x1b[31m.yaml").write_text("# Renames\x1b]0;the window\n_target_: a.B\n")
    manual = Shell(tmp_path)("discover", "--help")
    assert "\x1b" not in manual
    assert "\n  red\\x1b[31m" in manual
    assert "Renames\\x1b]0;the window (conf/)" in manual
    assert f"\n  {'long' * 30}\n{' ' * 40}Has a long name. (conf/)\n" in manual


def test_help_lists_a_file_that_is_not_utf8(tmp_path):
    file = tmp_path / "conf" / "method" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"# M\xe9thode\n_target_: ball.Ball\n")
    assert "mine    " in Shell(tmp_path)("discover", "--help")


@pytest.mark.slow
def test_an_installed_package_works_from_any_folder(tmp_path):
    """The wheel is built from the page's pyproject.toml; its slices are applied in another process."""
    extending_page.write_files(tmp_path / "source", PACKAGE)
    venv.create(tmp_path / "venv")
    (site,) = (tmp_path / "venv").glob("**/site-packages")
    python = tmp_path / "venv" / "bin" / "python"
    folders = [str(ROOT / "src"), *(folder for folder in sys.path if folder.endswith("site-packages"))]
    (site / "of_the_tests.pth").write_text("\n".join(folders) + "\n")
    environment = {name: value for name, value in quiet_environment().items() if name != "PYTHONPATH"}
    work = tmp_path / "work"
    work.mkdir()

    def run(*line: str | Path) -> str:
        done = subprocess.run(line, cwd=work, env=environment, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    build = "import sys; from hatchling import build; build.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=tmp_path / "source", check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:  # as pip does with a pure-Python wheel
        file.extractall(site)
    discover = (python, ROOT / "discover.py")
    assert "(stripes-pack)" in run(*discover, "--help")
    quick = ("dataset=stripes", "model=lines", "logger=none", "trainer=cpu", "cam=none", "training.epochs=1")
    assert "report → " in run(*discover, *quick, "method=ball")
    (found,) = work.glob("outputs/discover/*/*")
    assert "report → " in run(*discover, *quick, f"slices={found}", "split=val")
    (applied,) = set(work.glob("outputs/discover/*/*")) - {found}
    assert json.loads((applied / "findings.json").read_text())["method"] == "ball"
