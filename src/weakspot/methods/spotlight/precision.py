"""The forms a precision can take, and what each does to distances and gradients.

With q_i = (x_i - m)ᵀ P (x_i - m) a kernel weight is max(0, 1 - q_i). A form parametrises P by θ of shape
(s,); runs are batched, so m is (k, d), θ is (k, s) and q is (n, k).
"""

from __future__ import annotations

from math import isqrt
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

MOST_LOG_PRECISION = float(np.log(1e12))
"""No radius below a millionth of the RMS distance: float32 embeddings hold nothing finer."""

PUBLISHED_SPHERICAL, PUBLISHED_OTHER = 1e-4, 1e-3
"""The precisions that published runs start from, in the embedding's raw units."""

FINEST = 0.5 / 16
"""A value of q holds no more error than 16 roundings of its largest term, and that is at most a half where known."""


class Form(Protocol):
    name: str
    published: float

    def start(self, precision: Float[np.ndarray, " k"], dimensions: int) -> Float[np.ndarray, "k s"]:
        """θ of P = precision·I."""

    def quadratic(
        self,
        x: Float[Tensor, "n d"],
        squares: Float[Tensor, " n"],
        m: Float[Tensor, "k d"],
        shape: Float[Tensor, "k s"],
    ) -> Float[Tensor, "n k"]:
        """q, in float64; `squares` are ‖x_i‖²."""

    def gradient(
        self,
        x: Float[Tensor, "n d"],
        g: Float[Tensor, "n k"],
        q: Float[Tensor, "n k"],
        m: Float[Tensor, "k d"],
        shape: Float[Tensor, "k s"],
    ) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k s"]]:
        """-Σ g_i ∂q_i/∂m and -Σ g_i ∂q_i/∂θ: how f changes, g being ∂f/∂w."""

    def finest(
        self, m: Float[Tensor, "k d"], shape: Float[Tensor, "k s"], dtype: torch.dtype
    ) -> Float[Tensor, " k"]:
        """The largest factor on P at which q is still known of rows near m, whatever library multiplies.

        Rows are in `dtype`, and q of those at m is then no more than a half, although rounding makes something
        of its 0. No precision exceeds the one that `settle` allows either.
        """

    def settle(self, shape: Float[Tensor, "k s"]) -> Float[Tensor, "k s"]:
        """θ brought back to where it stands for a precision."""

    def scaled(self, shape: Float[Tensor, "k s"], factor: Float[Tensor, "k 1"]) -> Float[Tensor, "k s"]:
        """θ of factor·P."""

    def free(self, dimensions: int) -> slice:
        """The entries of θ that an ascent at fixed size may move."""

    def matrix(self, shape: Float[np.ndarray, " s"]) -> Float[np.ndarray, " *shape"]:
        """P as a scalar, a diagonal (d,) or a matrix (d, d)."""


class _Logarithms:
    """θ holds logarithms of P's entries and nothing else."""

    def finest(self, m: Tensor, shape: Tensor, dtype: torch.dtype) -> Tensor:
        return _finest(shape, torch.finfo(dtype).eps * (shape.exp() * m * m).sum(dim=1))

    def settle(self, shape: Tensor) -> Tensor:
        return shape.clamp(max=MOST_LOG_PRECISION)

    def scaled(self, shape: Tensor, factor: Tensor) -> Tensor:
        return shape + factor.log()


class Spherical(_Logarithms):
    """P = p·I, θ = (log p)."""

    name, published = "spherical", PUBLISHED_SPHERICAL

    def start(self, precision: Float[np.ndarray, " k"], dimensions: int) -> Float[np.ndarray, "k 1"]:
        start: np.ndarray = np.log(precision)[:, None]
        return start

    def quadratic(self, x: Tensor, squares: Tensor, m: Tensor, shape: Tensor) -> Tensor:
        cross = (x @ m.T.to(x.dtype)).double()
        distances = cross.mul_(-2).add_(squares[:, None]).add_((m * m).sum(dim=1)).clamp_(min=0)
        return distances.mul_(shape[:, 0].exp())

    def gradient(self, x: Tensor, g: Tensor, q: Tensor, m: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        pull = (g.T.to(x.dtype) @ x).double() - g.sum(dim=0)[:, None] * m
        return 2 * shape.exp() * pull, -(g * q).sum(dim=0)[:, None]

    def free(self, dimensions: int) -> slice:
        return slice(0, 0)

    def matrix(self, shape: Float[np.ndarray, " 1"]) -> Float[np.ndarray, ""]:
        precision: np.ndarray = np.exp(shape[0])
        return precision


class Diagonal(_Logarithms):
    """P = diag(p), θ = log p."""

    name, published = "diagonal", PUBLISHED_OTHER

    def start(self, precision: Float[np.ndarray, " k"], dimensions: int) -> Float[np.ndarray, "k d"]:
        return np.repeat(np.log(precision)[:, None], dimensions, axis=1)

    def quadratic(self, x: Tensor, squares: Tensor, m: Tensor, shape: Tensor) -> Tensor:
        p = shape.exp()
        cross = (x * x) @ p.T.to(x.dtype) - 2 * (x @ (p * m).T.to(x.dtype))
        return cross.double().add_((p * m * m).sum(dim=1)).clamp_(min=0)

    def gradient(self, x: Tensor, g: Tensor, q: Tensor, m: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        p, narrow, mass = shape.exp(), g.T.to(x.dtype), g.sum(dim=0)[:, None]
        first, second = (narrow @ x).double(), (narrow @ (x * x)).double()
        return 2 * p * (first - mass * m), -p * (second - 2 * m * first + mass * m * m)

    def free(self, dimensions: int) -> slice:
        return slice(0, dimensions)

    def matrix(self, shape: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        precision: np.ndarray = np.exp(shape)
        return precision


class Full:
    """P = V·diag(λ)·V⁻¹ with V orthogonal, θ = (V row by row, log λ).

    After each step V is brought back to the nearest orthogonal matrix. As published, a little noise goes
    first, because singular values that are equal have no single answer; here it is seeded.
    """

    name, published = "full", PUBLISHED_OTHER
    noise = 1e-4

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def start(self, precision: Float[np.ndarray, " k"], dimensions: int) -> Float[np.ndarray, "k s"]:
        vectors = np.tile(np.eye(dimensions).ravel(), (len(precision), 1))
        return np.concatenate([vectors, np.repeat(np.log(precision)[:, None], dimensions, axis=1)], axis=1)

    def quadratic(self, x: Tensor, squares: Tensor, m: Tensor, shape: Tensor) -> Tensor:
        columns = []
        for centre, (vectors, values) in zip(m, map(_split, shape), strict=True):
            turned = (x - centre.to(x.dtype)) @ (vectors * values.exp().sqrt()).to(x.dtype)
            columns.append((turned * turned).sum(dim=1, dtype=torch.float64))
        return torch.stack(columns, dim=1)

    def gradient(self, x: Tensor, g: Tensor, q: Tensor, m: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """With G = ∂f/∂P = -Σ g·(x-m)(x-m)ᵀ: ∂f/∂V = G·V·Λ - P·G·V, ∂f/∂log λ = λ·diag(Vᵀ·G·V)."""
        by_centre, by_shape = [], []
        for j, (vectors, values) in enumerate(map(_split, shape)):
            rows = g[:, j].nonzero()[:, 0]
            away = x[rows] - m[j].to(x.dtype)
            pulled = away * g[rows, j, None].to(x.dtype)
            outer = -(pulled.T @ away).double()
            scale = values.exp()
            matrix = (vectors * scale) @ vectors.T
            inner = outer @ vectors
            by_centre.append(2 * matrix @ pulled.sum(dim=0, dtype=torch.float64))
            by_vectors = inner * scale - matrix @ inner
            by_shape.append(torch.cat([by_vectors.ravel(), scale * (vectors * inner).sum(dim=0)]))
        return torch.stack(by_centre), torch.stack(by_shape)

    def finest(self, m: Tensor, shape: Tensor, dtype: torch.dtype) -> Tensor:
        """Rows are subtracted before they are squared, so that it is the square of a rounding that is left."""
        values = shape[:, m.shape[1] ** 2 :]
        lengths = (m * m).sum(dim=1)
        return _finest(values, torch.finfo(dtype).eps ** 2 * values.exp().max(dim=1).values * lengths)

    def settle(self, shape: Tensor) -> Tensor:
        settled = []
        for vectors, values in map(_split, shape):
            noise = torch.rand(vectors.shape, generator=self._generator, dtype=vectors.dtype).to(
                vectors.device
            )
            left, _, right = torch.linalg.svd(vectors + self.noise * vectors.abs().mean() * noise)
            settled.append(torch.cat([(left @ right).ravel(), values.clamp(max=MOST_LOG_PRECISION)]))
        return torch.stack(settled)

    def scaled(self, shape: Tensor, factor: Tensor) -> Tensor:
        vectors = _dimensions(shape.shape[1]) ** 2
        return torch.cat([shape[:, :vectors], shape[:, vectors:] + factor.log()], dim=1)

    def free(self, dimensions: int) -> slice:
        return slice(dimensions * dimensions, None)

    def matrix(self, shape: Float[np.ndarray, " s"]) -> Float[np.ndarray, "d d"]:
        d = _dimensions(len(shape))
        vectors = shape[: d * d].reshape(d, d)
        root = vectors * np.exp(0.5 * shape[d * d :])
        matrix: np.ndarray = root @ root.T
        return matrix


def form_of(name: str, seed: int) -> Form:
    forms: dict[str, Form] = {"spherical": Spherical(), "diagonal": Diagonal(), "full": Full(seed)}
    return forms[name]


def apart(
    form: Form,
    m: Float[Tensor, "k d"],
    shape: Float[Tensor, "k s"],
    value: Float[Tensor, " k"],
    count: int,
    radii: float,
) -> list[int]:
    """The best `count` of k spotlights, leaving out those within so many radii of a better one."""
    q = form.quadratic(m, (m * m).sum(dim=1), m, shape)
    chosen: list[int] = []
    for j in torch.argsort(value, descending=True, stable=True).tolist():
        if len(chosen) < count and bool((q[chosen, j] > radii**2).all()):
            chosen.append(j)
    return chosen


def _finest(logs: Float[Tensor, "k l"], rounding: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """By the logarithms of P's eigenvalues, and what one rounding makes of q at the centre."""
    allowed = (MOST_LOG_PRECISION - logs.max(dim=1).values).exp()
    return torch.minimum(allowed, FINEST / rounding)


def _dimensions(width: int) -> int:
    """d, where θ has d² + d entries."""
    return (isqrt(1 + 4 * width) - 1) // 2


def _split(shape: Float[Tensor, " s"]) -> tuple[Float[Tensor, "d d"], Float[Tensor, " d"]]:
    d = _dimensions(len(shape))
    return shape[: d * d].reshape(d, d), shape[d * d :]
