"""Options of a command line among its settings."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from weakspot.launch.options import CommandLine, read_command_line


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["seed=0", "-m", "split=val"], CommandLine(["-m"], ["seed=0", "split=val"], True, None)),
        (
            ["a=1", "--config-dir", "conf", "b", "--cfg=job", "~c"],
            CommandLine(["--config-dir", "conf", "--cfg=job"], ["a=1", "b", "~c"], False, "conf", True),
        ),
        (["-cd", "conf", "conf"], CommandLine(["-cd", "conf"], ["conf"], False, "conf")),
        ([], CommandLine([], [], False, None)),
        (["--help", "-m", "seed=1,2"], CommandLine(["--help", "-m"], ["seed=1,2"], True, None, True)),
    ],
)
def test_options_may_stand_anywhere(words: list[str], read: CommandLine) -> None:
    assert read_command_line("discover", words) == read


def test_version_prints_the_version_of_this_project(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        read_command_line("discover", ["--version"])
    assert (stop.value.code, capsys.readouterr().out) == (0, f"weakspot {version('weakspot')}\n")
