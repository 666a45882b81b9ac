"""`weakspot doctor`: its report on what is installed and missing, and its exit code. Also `weakspot` itself."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest

from idx_files import idx_files
from layouts import celeba, movielens
from processes import quiet_environment
from weakspot import cli
from weakspot.commands import doctor
from weakspot.tracking.login import api_key_source, describe_login

Lines = dict[str, tuple[str, str]]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read no settings of this machine, and restore what a command changes in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


def examined(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Lines]:
    """The exit code, and by name the state and text of each check."""
    code = doctor.main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    return code, {one["name"]: (one["state"], one["text"]) for one in found}


def test_installed_packages_and_the_machine_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    code, lines = examined(capsys)
    assert code == 0
    for name in ("torch", "pytorch-lightning", "hydra-core", "wandb"):
        assert lines[name] == ("ok", version(name))
    assert lines["torch's build"][1].startswith(torch.__version__)
    assert lines["Python"][1].startswith(".".join(map(str, sys.version_info[:3])))
    assert int(lines["CPU cores"][1].split()[0]) >= 1
    assert lines["outputs/"][1].startswith(str(Path.cwd()))
    assert ("GPU 0" in lines) == torch.cuda.is_available()
    assert {state for state, _ in lines.values()} <= {"ok", "missing"}
    assert not list(Path.cwd().iterdir()), "doctor writes nothing"


def test_without_json_the_lines_are_readable_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([]) == 0
    *lines, blank, last = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("ok       ", "missing  ")) for line in lines)
    assert (blank, last) == ("", "all requirements are met")


def test_datasets_in_the_data_folder_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Datasets are opened as in a run: complete ones are ok, and an incomplete one is missing."""
    data = tmp_path / "data"
    idx_files(data)
    celeba.write(data)
    movielens.write(data)
    (next(data.glob("movielens/**/u.user"))).write_text("1|24|M\n")
    code, lines = examined(capsys, f"root={data}")
    assert code == 0
    assert lines["dataset=mnist"] == lines["dataset=fashion_mnist"] == ("ok", f"20 test examples in {data}")
    assert lines["dataset=celeba"][0] == "ok"
    state, text = lines["dataset=movielens"]
    assert state == "missing"
    assert "u.user" in text
    absent = lines["other datasets"][1]
    assert absent.startswith(f"not in {data}: amazon, cifar10, coco, fairface")
    assert not any(name in absent for name in ("mnist", "image_folder", "image_parquet", "webdataset"))


def test_missing_or_outdated_requirements_are_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def installed(name: str) -> str:
        if name in ("hydra-core", "jsonschema"):
            raise PackageNotFoundError(name)
        return "1.0" if name == "numpy" else version(name)

    monkeypatch.setattr(doctor, "version", installed)
    code, lines = examined(capsys)
    assert code == 1
    wanted = next(line for line in requires("weakspot") or () if line.startswith("hydra-core"))
    assert lines["hydra-core"][0] == lines["numpy"][0] == "broken"
    assert "it is not installed: run pip install 'hydra-core" in lines["hydra-core"][1]
    assert wanted.startswith("hydra-core")
    assert lines["numpy"][1].startswith("1.0 is installed, and >=2 is needed: run pip install 'numpy>=2'")
    assert doctor.main([]) == 1
    assert capsys.readouterr().out.endswith("\nbroken: hydra-core, numpy\n")


def test_a_folder_that_cannot_be_written_is_broken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check = doctor._outputs(tmp_path / "file" / "outputs")
    assert check.state == "broken"
    assert check.text.startswith(
        f"{tmp_path / 'file'} cannot be written (Not a directory): run it in another"
    )


@pytest.mark.parametrize(
    ("environment", "fits", "sentence"),
    [
        ({}, True, "offline, because nobody is logged in"),
        ({"WANDB_MODE": "disabled"}, True, "disabled, as WANDB_MODE says"),
        ({"WANDB_MODE": "online"}, False, "WANDB_MODE=online, but nobody is logged in: run `wandb login`"),
        ({"WANDB_API_KEY": "x" * 40}, True, "online, with the key in WANDB_API_KEY, which was not checked"),
    ],
    ids=str,
)
def test_the_wandb_login_is_described(
    environment: dict[str, str], fits: bool, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found, said = describe_login()
    assert found == fits
    assert said.startswith(sentence)
    assert "xxx" not in said, "a key is nobody's business"


def test_a_key_in_netrc_counts_only_for_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine wandb.example login user password secret\n")
    assert api_key_source() is None
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example")
    assert api_key_source() == str(tmp_path / "netrc")
    (tmp_path / "netrc").write_text("this is no netrc")
    assert api_key_source() is None


@pytest.mark.parametrize("word", ["data", "root=", "roots=x"])
def test_unknown_arguments_are_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        doctor.main([word])
    assert stop.value.code == 2
    assert (
        f"{word} is not an argument of doctor, which takes root=FOLDER and --json" in capsys.readouterr().err
    )


def test_weakspot_lists_its_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["weakspot"])
    cli.main()
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()[2:]] == list(cli._COMMANDS)
    monkeypatch.setattr(sys, "argv", ["weakspot", "discovre"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "There is no command 'discovre'. There are: train, infer, discover" in capsys.readouterr().err


@pytest.mark.slow
def test_python_m_weakspot_runs_the_console_scripts(tmp_path: Path) -> None:
    """`python -m weakspot discover WORDS` runs `weakspot-discover WORDS`."""
    line = [sys.executable, "-m", "weakspot", "discover", "--cfg", "job", "seed=7"]
    done = subprocess.run(
        line, cwd=tmp_path, env=quiet_environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "\nseed: 7\n" in done.stdout
