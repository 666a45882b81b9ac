"""Domino as an estimator: predictions in, slices out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp, softmax

from weakspot.methods.base import Callback, Method, embeddings_for, no_progress, parameters_of
from weakspot.methods.domino.mixture import Mixture, fit_mixture
from weakspot.methods.kmeans import fit_k_means
from weakspot.methods.ordered_examples import OrderedExamples
from weakspot.methods.setting_checks import check_at_least, check_at_most_examples
from weakspot.predictions import Predictions
from weakspot.tasks import Classification, Task

_PARAMETERS = ("log_shares", "means", "variances", "label_probabilities", "prediction_probabilities")


class Domino(Method):
    """Finds components of a mixture over embedding, label and prediction whose labels and predictions differ most.

    Eyuboglu, Varma, Saab, Delbrouck, Lee-Messer, Dunnmon, Zou, Ré: Domino, Discovering systematic errors with
    cross-modal embeddings, ICLR 2022. EM is initialised by k-means, as in the newest published code; labels and
    predictions have weight 10, as in the paper (the newest code's default of 1 finds fewer slices).

    Membership of other examples depends on embedding and label only: a prediction reveals which are wrong, so a test of
    such a slice would be circular. `published_scores` reads predictions too, as the published tool does.

    Args:
        n_slices: The number of components that are slices: those with the largest gap between a class's predicted and
            its true share.
        n_components: The number of principal components of the embeddings.
        n_mixture: The number of components of the mixture.
        label_weight: The exponent of the labels' likelihood.
        prediction_weight: The exponent of the predictions' likelihood.
        max_iter: The largest number of EM steps.
        seed: The seed of the k-means initialisation.
    """

    word = "domino"
    noun = "Component"

    def __init__(
        self,
        n_slices: int = 5,
        n_components: int = 128,
        n_mixture: int = 25,
        label_weight: float = 10.0,
        prediction_weight: float = 10.0,
        max_iter: int = 100,
        seed: int = 0,
    ) -> None:
        self.n_slices = n_slices
        self.n_components = n_components
        self.n_mixture = n_mixture
        self.label_weight = label_weight
        self.prediction_weight = prediction_weight
        self.max_iter = max_iter
        self.seed = seed

    def check(self, n: float, task: Task | None) -> None:
        check_at_least(self, n_slices=1, n_components=1, n_mixture=1, max_iter=1)
        check_at_most_examples(self, "n_mixture", n)
        if task is not None and type(task) is not Classification:
            raise ValueError(f"Domino reads labels and predicted classes; it cannot judge {task.kind}")

    def check_record(self, p: Predictions) -> None:
        _labels(p.take([0]))
        _predicted(p.take([0]))

    def fit(self, p: Predictions, callback: Callback | None = None) -> Domino:
        """Fit the mixture to `p`, which must hold labels and outputs or predictions."""
        self.check(p.row_counts.sum(), p.task)
        report_progress = callback or no_progress
        report_progress("mixture", 0, 1)
        examples = OrderedExamples.of(p)
        y, z = _labels(examples.record), _predicted(examples.record)
        centre = np.average(examples.x, axis=0, weights=examples.counts)
        scaled = (examples.x - centre) * np.sqrt(examples.counts)[:, None]
        components = np.linalg.svd(scaled, full_matrices=False)[2][: self.n_components].T
        x = (examples.x - centre) @ components
        start = fit_k_means(x, examples.counts, self.n_mixture, 1, self.seed).labels_
        mixture = fit_mixture(
            x,
            y,
            z,
            np.eye(self.n_mixture)[start],
            examples.counts,
            self.label_weight,
            self.prediction_weight,
            self.max_iter,
        )
        gap = (mixture.predictions - mixture.labels).max(axis=1)
        chosen = np.argsort(-np.abs(gap), kind="stable")[: self.n_slices]
        parameters = {
            "centre": centre,
            "components": components,
            "chosen": chosen.astype(np.int64),
            **dict(
                zip(
                    _PARAMETERS,
                    (
                        mixture.log_shares,
                        mixture.means,
                        mixture.variances,
                        mixture.labels,
                        mixture.predictions,
                    ),
                    strict=True,
                )
            ),
        }
        memberships = self._responsibilities(examples.record, parameters, with_predictions=True)
        self.slices_ = examples.slices(self, p, memberships, parameters)
        report_progress("mixture", 1, 1)
        return self

    def membership(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the posterior probability of each component given embedding and label."""
        return self._responsibilities(p, self._parameters(p), with_predictions=False)

    def published_scores(self, p: Predictions) -> Float[np.ndarray, "n k"]:
        """Return the posterior probability given embedding, label and prediction, as published."""
        return self._responsibilities(p, self._parameters(p), with_predictions=True)

    def _parameters(self, p: Predictions) -> dict[str, np.ndarray]:
        names = ("centre", "components", "chosen", *_PARAMETERS)
        parameters = dict(zip(names, parameters_of(self._fitted(p), *names), strict=True))
        embeddings_for(p.embeddings, len(parameters["centre"]), "the components")
        return parameters

    def _responsibilities(
        self, p: Predictions, parameters: dict[str, np.ndarray], with_predictions: bool
    ) -> Float[np.ndarray, "n k"]:
        """Return the posterior probabilities of the components that are slices."""
        mixture = Mixture(*(parameters[name] for name in _PARAMETERS))
        x = (np.asarray(p.embeddings, dtype=np.float64) - parameters["centre"]) @ parameters["components"]
        z = _predicted(p) if with_predictions else None
        log = mixture.log_joint(x, _labels(p), z, self.label_weight, self.prediction_weight)
        shares: np.ndarray = np.exp(log - logsumexp(log, axis=1, keepdims=True))
        return shares[:, parameters["chosen"]].clip(0, 1)


def _labels(p: Predictions) -> Float[np.ndarray, "n c"]:
    """Return the one-hot labels."""
    if p.labels is None or p.task is None:
        raise ValueError("Domino needs labels; these predictions hold none")
    return np.asarray(np.eye(len(p.task.classes))[p.labels])


def _predicted(p: Predictions) -> Float[np.ndarray, "n c"]:
    """Return the predicted probabilities; without outputs, the one-hot predictions."""
    if p.task is None or (p.outputs is None and p.predictions is None):
        raise ValueError("Domino needs outputs or predictions; these hold neither")
    if p.outputs is not None and p.outputs.shape[1] == len(p.task.classes):
        return np.asarray(softmax(np.asarray(p.outputs, dtype=np.float64), axis=1))
    return np.asarray(np.eye(len(p.task.classes))[p.predictions])
