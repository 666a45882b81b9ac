"""Training reweighted by slices: the weights, which examples get them, their effect, and what is refused."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch_lightning import seed_everything

from cpu_trainer import CPU
from short_training import FewDigits, InterruptedRunError, assert_same_result, model, stopping_after
from weakspot import Findings, Predictions, Spotlight
from weakspot.datasets.colored_digits import ColoredDigits
from weakspot.datasets.datamodule import DataModule
from weakspot.findings.finding_classifier import FindingClassifier
from weakspot.findings.mended_model import MendedModelComparison
from weakspot.models import load_weights
from weakspot.models.small_cnn import SmallCNN
from weakspot.pipeline.adversary_callback import AdversaryCallback
from weakspot.pipeline.audit_target import AuditTarget, Component
from weakspot.pipeline.checks import check_steps
from weakspot.pipeline.embedding_sources import EncoderEmbedding, LayerEmbedding
from weakspot.pipeline.learner import Learner
from weakspot.pipeline.reweight import example_weights
from weakspot.pipeline.reweight_by_adversary import ReweightByAdversary
from weakspot.pipeline.reweight_by_findings import ReweightByFindings
from weakspot.pipeline.store_folders import checkpoint_folder, embedding_identity
from weakspot.pipeline.train import train
from weakspot.pipeline.training_settings import TrainingSettings
from weakspot.pipeline.upstream import pull_predictions
from weakspot.pipeline.weights_callback import WeightsCallback
from weakspot.tasks import Classification


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_each_slice_gets_an_equal_part_of_the_loss(strength):
    members = np.zeros((2, 40))
    members[0, :3] = members[1, 10:30] = 1
    weights = example_weights(members, strength)
    assert weights.mean() == pytest.approx(1)
    for row in members:  # slices of 3 and of 20 examples: the same weight on top of that of their examples
        extra = weights[row > 0].sum() - (1 - strength) * row.sum()
        assert extra == pytest.approx(strength * 40 / 2)
    assert weights[35] == pytest.approx(1 - strength)


def test_a_slice_with_less_than_one_example_gets_no_weight():
    members = np.zeros((2, 30))
    members[0, :2], members[1, 5] = 1, 1e-6
    np.testing.assert_array_equal(example_weights(members, 0.5), example_weights(members[:1], 0.5))
    np.testing.assert_array_equal(example_weights(members[1:], 0.5), np.ones(30))


def test_an_example_of_weight_two_counts_as_two():
    learner = Learner(model(), FewDigits("val").task, TrainingSettings())
    data = DataModule(FewDigits, batch_size=4)
    batch = next(iter(data.loader("train", [7, 3, 11, 20])))
    twice = next(iter(data.loader("train", [7, 3, 3, 20])))
    learner.eval()
    learner.weights["train"] = torch.ones(180).index_put((torch.tensor([3, 11]),), torch.tensor([2.0, 0.0]))
    weighed = learner.training_step(batch, 0)
    learner.weights.clear()
    torch.testing.assert_close(weighed, learner.training_step(twice, 0))


def planted(seed: int, n: int = 1200) -> Predictions:
    """Examples of label 1 far along one direction are wrong; examples of label 0 lie there, too."""
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(n, 6)), rng.integers(0, 2, n)
    inside = rng.random(n) < 0.15
    x[inside, 0] += 6
    wrong = (inside & (labels == 1)) | (rng.random(n) < 0.03)
    outputs = np.where((labels == 1) ^ wrong, 2.0, -2.0)[:, None] * [-0.5, 0.5] + rng.normal(0, 0.1, (n, 2))
    return Predictions.from_arrays(
        x.astype(np.float32),
        outputs=outputs,
        labels=labels,
        attributes={"inside": inside},
        task=Classification(("a", "b")),
    )


@pytest.fixture(scope="module")
def found():
    p = planted(0)
    held = np.arange(len(p)) % 2 == 0
    slices = Spotlight(n_slices=1, min_size=0.05).fit(p.take(~held)).slices_
    weights = Spotlight.apply(slices, p).T
    slices = slices.carry_over(weights, p, np.flatnonzero(~held))
    return p, slices, held, Findings.build(p, slices, confirm=held)


def test_a_finding_is_recognised_in_other_predictions(found):
    p, slices, held, findings = found
    carried = FindingClassifier(findings, slices, p, ~held)
    assert [finding.labels for finding in carried.findings] == [("b",)]
    other = planted(1)
    inside = other.attributes["inside"].to_numpy(zero_copy_only=False)
    told = carried.weights(other)[0]
    assert not told[other.labels == 0].any()
    b = other.labels == 1
    assert ((told > 0.5) == inside)[b].mean() > 0.97
    shuffled = np.random.default_rng(0).permutation(len(other))
    np.testing.assert_allclose(carried.weights(other.take(shuffled))[0], told[shuffled])


def test_a_finding_that_is_a_whole_label_is_that_whole_label_elsewhere(found):
    p, slices, held, findings = found
    rows = np.flatnonzero(p.labels == 1)
    table = findings.memberships
    whole = replace(
        findings,
        memberships=type(table).from_pydict(
            {
                "group": ["finding"] * len(rows),
                "number": [1] * len(rows),
                "row": rows,
                "id": p.ids[rows],
                "weight": np.ones(len(rows)),
                "searched": ~held[rows],
            },
            schema=table.schema,
        ),
    )
    other = planted(1)
    np.testing.assert_array_equal(
        FindingClassifier(whole, slices, p, ~held).weights(other)[0], other.labels == 1
    )


def test_accuracies_before_and_after_match_a_count_by_hand():
    labels = np.zeros(40, dtype=int)
    first, second = np.zeros(40, dtype=int), np.zeros(40, dtype=int)
    first[:10] = 1  # all of the group "few" wrong
    second[[0, 1, 30]] = 1
    x = np.zeros((40, 1))
    group = np.repeat(["few", "many"], [10, 30])

    def told(guesses):
        return Predictions.from_arrays(
            x,
            labels=labels,
            predictions=guesses,
            attributes={"group": group},
            task=Classification(("a", "b")),
        )

    mended = MendedModelComparison.of(told(first), told(second), {"finding": np.arange(40) < 5}, "here")
    everyone, finding, rest, worst = mended.changes
    assert (everyone.before.accuracy, everyone.after.accuracy) == (0.75, 37 / 40)
    assert (finding.before.accuracy, finding.after.accuracy, finding.points) == (0.0, 0.6, pytest.approx(60))
    assert finding.after.interval == pytest.approx((0.2307, 0.8824), abs=1e-4)  # Wilson's, for 3 of 5
    assert (rest.before.examples, rest.before.accuracy, rest.after.accuracy) == (35, 30 / 35, 34 / 35)
    assert (worst.before.value, worst.before.accuracy) == ("few", 0.0)
    assert (worst.after.value, worst.after.accuracy) == ("few", 0.8)
    with pytest.raises(ValueError, match="same examples"):
        MendedModelComparison.of(told(first), told(second).take(range(40)[::-1]), {}, "here")


def adversary(**settings) -> ReweightByAdversary:
    method = Spotlight(n_slices=1, min_size=0.1, search="published", steps=100)
    return ReweightByAdversary(method=method, settings={}, **settings)


def fit(folder, reweight: ReweightByAdversary, make_trainer=CPU, training=None):
    data = DataModule(FewDigits, seed=0)
    training = training or TrainingSettings(epochs=2, keep="last")
    return train(model(), data, training, make_trainer, folder, callbacks=[AdversaryCallback(reweight, data)])


@pytest.mark.slow
def test_an_adversary_reweights_from_its_first_epoch_and_resumes_where_it_stopped(tmp_path):
    fit(tmp_path / "whole", adversary(first_epoch=2))
    with pytest.raises(InterruptedRunError):
        fit(tmp_path / "parts", adversary(first_epoch=2), stopping_after(1))
    fit(tmp_path / "parts", adversary(first_epoch=2))
    assert_same_result(tmp_path / "parts", tmp_path / "whole")

    def weights(name, **settings):
        return torch.load(fit(tmp_path / name, adversary(**settings)), weights_only=True)["state_dict"]

    plain = weights("plain", strength=0.0, first_epoch=2)
    late = torch.load(tmp_path / "whole" / "model.ckpt", weights_only=True)["state_dict"]
    assert any(not torch.equal(plain[name], late[name]) for name in plain)
    without = train(
        model(),
        DataModule(FewDigits, seed=0),
        TrainingSettings(epochs=2, keep="last"),
        CPU,
        tmp_path / "without",
    )
    alike = torch.load(without, weights_only=True)["state_dict"]
    for name in plain:  # searching alone changes neither the random state nor the network's mode
        torch.testing.assert_close(plain[name], alike[name], rtol=0, atol=0)


class SeenByAdversary(AdversaryCallback):
    """Keeps the arrays that the method is given."""

    def _weights(self, arrays):
        self.arrays = arrays
        return super()._weights(arrays)


ENCODER = SmallCNN(ColoredDigits("val").task, channels=(4,), embedding=5)


@pytest.mark.parametrize(
    "source", [lambda net: LayerEmbedding(net, "features"), lambda net: EncoderEmbedding(net, ENCODER)]
)
def test_an_adversary_searches_in_the_embedding_that_the_target_names(source, tmp_path):
    training = TrainingSettings(epochs=1, keep="last")
    seen = SeenByAdversary(adversary(strength=0.0), DataModule(FewDigits, seed=0), source)
    checkpoints = [
        train(model(), DataModule(FewDigits, seed=0), training, CPU, tmp_path / name, callbacks=callbacks)
        for name, callbacks in (("adversary", [seen]), ("plain", []))
    ]
    batch = next(iter(DataModule(FewDigits, batch_size=180).loader("train", range(180))))
    with torch.no_grad():  # the first epoch sees the model as it was built
        z, outputs = source(model()).eval().read(batch["input"])
    np.testing.assert_allclose(seen.arrays["embeddings"], z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(seen.arrays["outputs"], outputs, rtol=1e-4, atol=1e-5)
    states = [torch.load(file, weights_only=True)["state_dict"] for file in checkpoints]
    assert states[0].keys() == states[1].keys()
    for name in states[0]:  # searching alone changes nothing
        torch.testing.assert_close(states[0][name], states[1][name], rtol=0, atol=0)


def test_an_adversary_computes_in_the_precision_of_the_training(tmp_path):
    data, make_trainer = DataModule(FewDigits, seed=0), functools.partial(CPU, precision="bf16-true")
    encoder = SmallCNN(data.dataset("val").task, channels=(4,), embedding=5)
    seen = SeenByAdversary(adversary(), data, lambda net: EncoderEmbedding(net, encoder))
    train(model(), data, TrainingSettings(epochs=1), make_trainer, tmp_path, callbacks=[seen])
    assert seen.arrays["embeddings"].shape == (180, 5)


def test_epochs_are_compared_by_the_weighted_loss(tmp_path):
    data = DataModule(FewDigits, seed=0)
    seed_everything(0, verbose=False)
    n = {split: len(data.dataset(split)) for split in ("train", "val")}
    only = {split: example_weights(np.eye(1, rows), 1.0) for split, rows in n.items()}  # only the first row
    weighing = WeightsCallback(ReweightByFindings(folder=tmp_path), only)
    folder = tmp_path / "store"
    train(model(), data, TrainingSettings(epochs=1), CPU, folder, callbacks=[weighing])
    manifest = json.loads((folder / "manifest.json").read_text())
    learner = Learner(model(), data.dataset("val").task, TrainingSettings())
    state = torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]
    learner.load_state_dict(state)
    batch = next(iter(data.loader("val", [0])))
    with torch.no_grad():
        loss = learner.eval().predict_step(batch, 0)["losses"]
    assert manifest["val_loss"] == pytest.approx(float(loss), rel=1e-4)


@pytest.mark.parametrize("settings", [{"strength": 1.1}, {"strength": -0.1}, {"first_epoch": 0}])
def test_invalid_settings_are_refused(settings, tmp_path):
    with pytest.raises(ValueError, match=next(iter(settings))):
        ReweightByFindings(folder=tmp_path, **settings)


def test_a_run_without_findings_to_mend_is_refused(found, tmp_path):
    *_, findings = found
    unsure = replace(
        findings, findings=tuple(replace(one, verdict="not_confirmed") for one in findings.findings)
    )
    untested = replace(findings.confirmation, mode="off", source="", tested=0)
    for name, run, said in (
        (
            "untested",
            replace(unsure, confirmation=untested),
            r"made with confirm=0.*name a run with confirm=0\.5",
        ),
        ("unsure", unsure, "search again with more examples"),
        ("best", replace(findings, seeks="better"), "needs no improvement"),
        ("file", findings, "read predictions from a file"),
    ):
        run.save(tmp_path / name)
        with pytest.raises(ValueError, match=said):
            _ = ReweightByFindings(folder=tmp_path / name).findings


def test_a_wrong_setting_is_refused_before_anything_is_written(shell):
    said = shell("train", "reweight=nowhere", "logger=none", fails=True)
    assert "is not a folder; name the folder of a run of discover.py" in said
    assert not list(shell.folder.iterdir())


@pytest.fixture
def audited(tmp_path, found):
    """A model with given weights, and a run with findings in its predictions of the digits."""
    small = functools.partial(SmallCNN, channels=(4, 8), embedding=8)
    torch.save(model().state_dict(), tmp_path / "weights.pt")
    target = AuditTarget(
        Component("colored_digits", {}, ColoredDigits),
        Component("small_cnn", {}, small),
        TrainingSettings(epochs=2),
        CPU,
        checkpoint=str(tmp_path / "weights.pt"),
        checkpoints_dir=tmp_path / "checkpoints",
        predictions_dir=tmp_path / "predictions",
    )
    manifest = dict(pull_predictions(target).manifest)
    replace(found[-1], provenance={"predictions": manifest}).save(tmp_path / "run")
    found[1].save(tmp_path / "run" / "slices")
    return replace(target, checkpoint="auto")


def test_a_run_of_another_dataset_or_model_or_with_other_slices_is_refused(audited, found, tmp_path):
    mend = ReweightByFindings(folder=tmp_path / "run")
    mend.check(audited)
    mend.check(
        replace(audited, seed=1, training=TrainingSettings(epochs=1))
    )  # settings of the training to come, not of the audited model
    other = replace(audited, dataset=replace(audited.dataset, name="digits"))
    replace(found[1], weights=found[1].weights * 0.9).save(tmp_path / "run" / "slices")
    with pytest.raises(ValueError, match="does not describe the slices beside it"):
        ReweightByFindings(folder=tmp_path / "run").check(audited)
    found[1].save(tmp_path / "run" / "slices")
    with pytest.raises(ValueError, match="audited dataset=colored_digits, not dataset=digits"):
        mend.check(other)
    wider = replace(audited, model=replace(audited.model, settings={"embedding": 32}))
    with pytest.raises(ValueError, match="the model's settings have changed since that run"):
        mend.check(wider)
    with pytest.raises(ValueError, match=r"first_epoch=3 comes after the last of training\.epochs=2"):
        ReweightByFindings(folder=tmp_path / "run", first_epoch=3).check(audited)
    findings = Findings.load(tmp_path / "run")
    replace(findings, confirmation=replace(findings.confirmation, mode="other")).save(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="on which the effect cannot be measured"):
        ReweightByFindings(folder=tmp_path / "elsewhere", confirm="more.npz").check(audited)
    torch.save(SmallCNN(audited.task, channels=(4, 8), embedding=8).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="the audited model has been trained again"):
        mend.check(audited)
    (tmp_path / "weights.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"weights\.pt"):
        mend.check(audited)


def test_a_run_is_mended_in_the_embedding_that_it_searched(audited, found, tmp_path):
    """Whatever embedding the command line names: the mended model is searched in that one."""

    def run_of(target, folder):
        manifest = dict(pull_predictions(replace(target, checkpoint=str(tmp_path / "weights.pt"))).manifest)
        replace(found[-1], provenance={"predictions": manifest}, command="python discover.py …").save(folder)
        found[1].save(folder / "slices")
        return ReweightByFindings(folder=folder), manifest

    mend, manifest = run_of(replace(audited, embed_layer="cam_layer"), tmp_path / "layer")
    elsewhere = replace(audited, embed_layer="embedding.2")
    for target in (audited, elsewhere):
        mend.check(target)
        assert json.loads(json.dumps(embedding_identity(mend.audited(target)))) == {
            "embed_layer": "cam_layer",
            "cam_layer": None,
        }
        assert pull_predictions(mend.audited(target)).manifest["made_from"] == manifest["made_from"]
    one, other = (checkpoint_folder(replace(target, reweight=mend)) for target in (audited, elsewhere))
    assert one == other
    in_last_layer = ReweightByFindings(folder=tmp_path / "run")
    assert embedding_identity(in_last_layer.audited(elsewhere)) == {}

    torch.save(ENCODER.state_dict(), tmp_path / "encoder.pt")

    def make(task):
        encoder = SmallCNN(task, channels=(4,), embedding=5)
        load_weights(encoder, tmp_path / "encoder.pt")
        return encoder

    encoded = replace(audited, encoder=Component("small", {}, make))
    mend, _ = run_of(encoded, tmp_path / "encoder")
    mend.check(encoded)
    with pytest.raises(
        ValueError, match=r"searched the embedding of the encoder small: .* \(encoder=…, .*discover\.py …"
    ):
        mend.check(audited)
    wider = replace(encoded, encoder=replace(encoded.encoder, settings={"embedding": 7}))
    with pytest.raises(ValueError, match="repeat its settings on the command line"):
        mend.check(wider)


def test_an_invalid_embedding_is_refused_before_a_model_is_mended(audited, tmp_path):
    """The mended model's predictions are needed at the end, to measure the effect."""
    mend = ReweightByFindings(folder=tmp_path / "run")
    with pytest.raises(ValueError, match="no module 'featurs' to be its embed_layer"):
        check_steps(replace(audited, reweight=mend, embed_layer="featurs"), "train")


def test_another_strength_makes_another_checkpoint(audited, tmp_path):
    plain = checkpoint_folder(audited)
    folders = {
        checkpoint_folder(replace(audited, reweight=ReweightByFindings(folder=tmp_path / "run", strength=s)))
        for s in (0.2, 0.5)
    }
    assert len(folders | {plain}) == 3


def test_training_a_mended_model_prints_the_command_that_audits_it(shell):
    words = ("training.epochs=1", "reweight=adversary", "method=kmeans", "logger=none")
    said = shell("train", *words, "hydra.run.dir=mended")
    next_command = f"python discover.py {' '.join(words)}"
    assert said.endswith(f"\nnext: `{next_command}` finds where this model still fails\n")


@pytest.mark.slow
def test_a_failing_group_is_mended_without_group_labels(shell):
    common = ("logger=none", "training.epochs=10")
    searched = ("cam=none", "method=spotlight", "method.search=published", "method.n_slices=2")
    shell("discover", *common, *searched, "hydra.run.dir=run")
    (audited,) = shell.folder.glob("outputs/checkpoints/*/model.ckpt")
    before = audited.read_bytes()
    text = shell("train", *common, "reweight=run")
    (file,) = shell.folder.glob("outputs/checkpoints/*/mended.json")
    changes = {(one["kind"], one["name"]): one for one in json.loads(file.read_text())["changes"]}
    assert "worst group" in text
    failing = changes["finding", "finding 1, group = red_≥5"]
    assert failing["before"]["accuracy"] < 0.1
    assert failing["points"] >= 10
    assert audited.read_bytes() == before
