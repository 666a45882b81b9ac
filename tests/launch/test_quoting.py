"""Settings as they are typed, as Hydra's grammar reads them, and as they are shown."""

from __future__ import annotations

import os

import pytest

from weakspot.launch.quoting import quote_for_hydra, word_as_typed


@pytest.mark.parametrize(
    ("word", "read"),
    [
        ("checkpoint=epoch=6-step=120.ckpt", "checkpoint='epoch=6-step=120.ckpt'"),
        ("predictions=my run (2).npz", "predictions='my run (2).npz'"),
        ("predictions=größe.npz", "predictions='größe.npz'"),
        ("predictions=it's.npz", "predictions='it\\'s.npz'"),
        ("predictions=~/my.npz", f"predictions='{os.path.expanduser('~/my.npz')}'"),
        ("slices=a.pkl", "slices=[a.pkl]"),
        ("slices=a.pkl,my (2).pkl", "slices=[a.pkl,'my (2).pkl']"),
        ("slices=[a.pkl,b.pkl]", "slices=[a.pkl,b.pkl]"),
        ("method.past=~/a.pkl", f"method.past=['{os.path.expanduser('~/a.pkl')}']"),
        ("slices=None", "slices=null"),
        ("folders=outputs,multirun", "folders=[outputs,multirun]"),
        ("model.labels=[größer, kleiner]", "model.labels=['größer', kleiner]"),
        ("model.kwargs={img_size: 96}", "model.kwargs={img_size: 96}"),
        ("training.clip=None", "training.clip=null"),
        ("encoder=None", "encoder=null"),
        ("reweight=None", "reweight.by=null"),
        ("dataset.root=${oc.env:HOME}", "dataset.root=${oc.env:HOME}"),
        ("seed=1,2", "seed=1,2"),
        ("~dataset.size", "~dataset.size"),
    ],
)
def test_settings_are_quoted_for_hydra(word: str, read: str) -> None:
    assert quote_for_hydra([word]) == [read]
    assert quote_for_hydra([read]) == [read]


def test_files_of_a_sweep_are_quoted_one_by_one() -> None:
    assert quote_for_hydra(["checkpoint=a=1.ckpt,b.ckpt"], True) == ["checkpoint='a=1.ckpt',b.ckpt"]
    # 0.5 is a number
    assert quote_for_hydra(["confirm=0.5,my (2).npz"], True) == ["confirm=0.5,'my (2).npz'"]
    assert quote_for_hydra(["slices=a.pkl,b.pkl"], True) == ["slices=[a.pkl],[b.pkl]"]


def test_short_forms_of_settings_are_shown_as_typed() -> None:
    assert word_as_typed("model@encoder=resnet18") == "encoder=resnet18"
    assert word_as_typed("reweight.by=runs/a") == "reweight=runs/a"
    assert word_as_typed("model=resnet") == "model=resnet"
