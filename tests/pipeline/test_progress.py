"""Progress of a long step: a bar that is erased at the end on a terminal, else a log line now and then."""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pytorch_lightning import Trainer
from rich.console import Console

from weakspot.datasets.colored_digits import ColoredDigits
from weakspot.datasets.datamodule import DataModule
from weakspot.methods.kmeans import Kmeans
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline import progress as module
from weakspot.pipeline.discover import discover
from weakspot.pipeline.infer import infer
from weakspot.pipeline.progress import format_duration, progress
from weakspot.pipeline.train import train
from weakspot.pipeline.training_settings import TrainingSettings
from weakspot.testing import example_predictions


def screen(written: str) -> list[str]:
    """The lines that a terminal shows in the end: carriage returns, line erasures and moves up are carried out."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\n|\r|[^\x1b\n\r]+", written):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part == "\x1b[1A":
            row -= 1
        elif not part.startswith(("\x1b", "\r")):
            lines[row] = part.rstrip()
    return [line for line in lines if line]


def test_the_bar_is_erased_and_lines_logged_meanwhile_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80, color_system=None)
    handler = logging.StreamHandler(written)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    with progress("starting", console=console) as tell:
        for step in range(1, 4):
            tell(
                "spotlight 1 of 5, which has a name that is far too long for a line of the terminal", step, 3
            )
            logging.getLogger("weakspot").warning("said at step %d", step)
        assert handler.stream is not written
    assert handler.stream is written
    assert "100%" in written.getvalue()
    assert screen(written.getvalue()) == ["said at step 1", "said at step 2", "said at step 3"]


def wait_for(happened: Callable[[], bool]) -> None:
    for _ in range(1000):
        if happened():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen in 20 seconds")


def test_without_a_terminal_a_line_is_logged_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOG_INTERVAL", 0.02)
    console = Console(file=io.StringIO())
    with caplog.at_level("INFO"), progress("starting", console=console) as tell:
        wait_for(lambda: bool(caplog.messages))
        tell("climbing", 1, 4)
        wait_for(lambda: "climbing" in caplog.text)
    assert re.fullmatch(r"starting · 0 s so far", caplog.messages[0])
    assert re.fullmatch(r"climbing · 1 of 4 · 0 s so far · about [01] s left", caplog.messages[-1])
    assert all(len(line) <= 80 for line in caplog.messages)
    caplog.clear()
    with caplog.at_level("INFO"), progress("starting", shown=False, console=console) as tell:
        time.sleep(0.1)
        tell("climbing", 1, 4)
    assert not caplog.messages
    assert not console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (600, "10 min"), (3600, "1 h 0 min"), (7800, "2 h 10 min")],
)
def test_durations_are_in_readable_units(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said


def test_training_and_inference_report_their_progress(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    told: list[tuple[str, int, int]] = []
    monkeypatch.setattr(
        module,
        "_Stage",
        lambda first: type("Stage", (), {"report_progress": lambda _, *now: told.append(now)})(),
    )
    trainer = partial(Trainer, accelerator="cpu", limit_train_batches=3, enable_model_summary=False)
    data = DataModule(ColoredDigits, batch_size=64)
    model = SmallCNN(data.dataset("test").task, channels=(4,), embedding=4)
    train(model, data, TrainingSettings(epochs=2), trainer, tmp_path / "checkpoint")
    assert [done for _, done, _ in told] == [1, 2, 3, 4, 5, 6]
    assert {total for _, _, total in told} == {6}
    assert told[0][0] == "training: epoch 1 of 2"
    assert re.fullmatch(r"training: epoch 2 of 2, validation loss [\d.]+", told[-1][0])
    told.clear()
    infer(model, data, "test", trainer, tmp_path / "predictions", {})
    assert told[-1] == ("inferring", 12, 12)
    assert "".join(capfd.readouterr()) == ""  # Lightning's own bar is not shown


def test_steps_after_the_search_report_that_they_are_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOG_INTERVAL", 0.002)
    with caplog.at_level("INFO"):
        findings = discover(Kmeans(n_clusters=4), example_predictions(), tmp_path, stability=2)
    for stage in (
        r"fitting again, for the stability · \d of 3 · 0 s so far",
        r"testing and describing what was found · \d s so far",
        r"writing the report · \d s so far",
    ):
        assert any(re.match(stage, line) for line in caplog.messages), stage
    assert all(one.stability is not None for one in findings.slices)
