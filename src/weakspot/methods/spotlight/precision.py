"""The kinds of precision P (spherical, diagonal, full), with their distances and gradients.

With q_i = (x_i - m)ᵀ P (x_i - m), a kernel weight is max(0, 1 - q_i). Each kind parametrises P by θ of shape (s,),
`parameters` in the code; runs are batched, so m is (k, d), θ is (k, s) and q is (n, k).
"""

from __future__ import annotations

from math import isqrt
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

MOST_LOG_PRECISION = float(np.log(1e12))
"""No radius is below a millionth of the RMS distance: float32 embeddings resolve nothing finer."""

PUBLISHED_SPHERICAL, PUBLISHED_NONSPHERICAL = 1e-4, 1e-3
"""The precisions that published runs start from, in the run's units."""

MAX_KNOWN_ROUNDING = 0.5 / 16
"""A value of q is off by at most 16 roundings of its largest term; q is reliable if that is at most a half."""


class Precision(Protocol):
    """A parametrisation of P.

    Attributes:
        name: The name of the kind, as in the setting `precision`.
        published_start: The precision that published runs start from, in the run's units.
    """

    name: str
    published_start: float

    def isotropic(self, precision: Float[np.ndarray, " k"], dimensions: int) -> Float[np.ndarray, "k s"]:
        """Return θ (k, s) of P = precision·I."""

    def quadratic_form(
        self,
        x: Float[Tensor, "n d"],
        squares: Float[Tensor, " n"],
        m: Float[Tensor, "k d"],
        parameters: Float[Tensor, "k s"],
    ) -> Float[Tensor, "n k"]:
        """Return q (n, k) in float64; `squares` (n,) are ‖x_i‖²."""

    def gradient(
        self,
        x: Float[Tensor, "n d"],
        g: Float[Tensor, "n k"],
        q: Float[Tensor, "n k"],
        m: Float[Tensor, "k d"],
        parameters: Float[Tensor, "k s"],
    ) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k s"]]:
        """Return ∂f/∂m = -Σ g_i ∂q_i/∂m (k, d) and ∂f/∂θ = -Σ g_i ∂q_i/∂θ (k, s), g being ∂f/∂w."""

    def max_factor(
        self, m: Float[Tensor, "k d"], parameters: Float[Tensor, "k s"], dtype: torch.dtype
    ) -> Float[Tensor, " k"]:
        """Return the largest factor (k,) on P at which q is still reliable for rows near m, whatever the library.

        Rows are in `dtype`. The q of rows at m, which is 0 up to rounding, is then at most a half, and no precision
        exceeds the one that `project` allows.
        """

    def project(self, parameters: Float[Tensor, "k s"]) -> Float[Tensor, "k s"]:
        """Return the nearest θ that represents an allowed precision."""

    def scale(self, parameters: Float[Tensor, "k s"], factor: Float[Tensor, "k 1"]) -> Float[Tensor, "k s"]:
        """Return θ of factor·P."""

    def movable(self, dimensions: int) -> slice:
        """Return the entries of θ that an ascent at a fixed size may move."""

    def matrix(self, parameters: Float[np.ndarray, " s"]) -> Float[np.ndarray, " *shape"]:
        """Return P as a scalar, a diagonal (d,) or a matrix (d, d)."""


class _LogPrecision:
    """Base class of precisions whose θ holds only logarithms of P's entries."""

    def max_factor(self, m: Tensor, parameters: Tensor, dtype: torch.dtype) -> Tensor:
        return _max_factor(parameters, torch.finfo(dtype).eps * (parameters.exp() * m * m).sum(dim=1))

    def project(self, parameters: Tensor) -> Tensor:
        return parameters.clamp(max=MOST_LOG_PRECISION)

    def scale(self, parameters: Tensor, factor: Tensor) -> Tensor:
        return parameters + factor.log()


class SphericalPrecision(_LogPrecision):
    """The precision P = p·I, with θ = (log p)."""

    name, published_start = "spherical", PUBLISHED_SPHERICAL

    def isotropic(self, precision: Float[np.ndarray, " k"], dimensions: int) -> Float[np.ndarray, "k 1"]:
        theta: np.ndarray = np.log(precision)[:, None]
        return theta

    def quadratic_form(self, x: Tensor, squares: Tensor, m: Tensor, parameters: Tensor) -> Tensor:
        cross = (x @ m.T.to(x.dtype)).double()
        distances = cross.mul_(-2).add_(squares[:, None]).add_((m * m).sum(dim=1)).clamp_(min=0)
        return distances.mul_(parameters[:, 0].exp())

    def gradient(
        self, x: Tensor, g: Tensor, q: Tensor, m: Tensor, parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        weighted_offset = (g.T.to(x.dtype) @ x).double() - g.sum(dim=0)[:, None] * m
        return 2 * parameters.exp() * weighted_offset, -(g * q).sum(dim=0)[:, None]

    def movable(self, dimensions: int) -> slice:
        return slice(0, 0)

    def matrix(self, parameters: Float[np.ndarray, " 1"]) -> Float[np.ndarray, ""]:
        precision: np.ndarray = np.exp(parameters[0])
        return precision


class DiagonalPrecision(_LogPrecision):
    """The precision P = diag(p), with θ = log p."""

    name, published_start = "diagonal", PUBLISHED_NONSPHERICAL

    def isotropic(self, precision: Float[np.ndarray, " k"], dimensions: int) -> Float[np.ndarray, "k d"]:
        return np.repeat(np.log(precision)[:, None], dimensions, axis=1)

    def quadratic_form(self, x: Tensor, squares: Tensor, m: Tensor, parameters: Tensor) -> Tensor:
        p = parameters.exp()
        cross = (x * x) @ p.T.to(x.dtype) - 2 * (x @ (p * m).T.to(x.dtype))
        return cross.double().add_((p * m * m).sum(dim=1)).clamp_(min=0)

    def gradient(
        self, x: Tensor, g: Tensor, q: Tensor, m: Tensor, parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        p, narrow, mass = parameters.exp(), g.T.to(x.dtype), g.sum(dim=0)[:, None]
        first, second = (narrow @ x).double(), (narrow @ (x * x)).double()
        return 2 * p * (first - mass * m), -p * (second - 2 * m * first + mass * m * m)

    def movable(self, dimensions: int) -> slice:
        return slice(0, dimensions)

    def matrix(self, parameters: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        precision: np.ndarray = np.exp(parameters)
        return precision


class FullPrecision:
    """The precision P = V·diag(λ)·V⁻¹ with V orthogonal, and θ = (V row by row, log λ).

    After each step V is projected onto the nearest orthogonal matrix. As published, a little noise is added first,
    because equal singular values have no unique vectors; here the noise is seeded.
    """

    name, published_start = "full", PUBLISHED_NONSPHERICAL
    noise = 1e-4

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def isotropic(self, precision: Float[np.ndarray, " k"], dimensions: int) -> Float[np.ndarray, "k s"]:
        vectors = np.tile(np.eye(dimensions).ravel(), (len(precision), 1))
        return np.concatenate([vectors, np.repeat(np.log(precision)[:, None], dimensions, axis=1)], axis=1)

    def quadratic_form(self, x: Tensor, squares: Tensor, m: Tensor, parameters: Tensor) -> Tensor:
        columns = []
        for centre, (vectors, values) in zip(m, map(_split, parameters), strict=True):
            turned = (x - centre.to(x.dtype)) @ (vectors * values.exp().sqrt()).to(x.dtype)
            columns.append((turned * turned).sum(dim=1, dtype=torch.float64))
        return torch.stack(columns, dim=1)

    def gradient(
        self, x: Tensor, g: Tensor, q: Tensor, m: Tensor, parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return ∂f/∂m, ∂f/∂V = G·V·Λ - P·G·V and ∂f/∂log λ = λ·diag(Vᵀ·G·V), with G = ∂f/∂P = -Σ g·(x-m)(x-m)ᵀ."""
        by_centre, by_shape = [], []
        for j, (vectors, values) in enumerate(map(_split, parameters)):
            rows = g[:, j].nonzero()[:, 0]
            away = x[rows] - m[j].to(x.dtype)
            weighted_offsets = away * g[rows, j, None].to(x.dtype)
            outer = -(weighted_offsets.T @ away).double()
            scale = values.exp()
            matrix = (vectors * scale) @ vectors.T
            inner = outer @ vectors
            by_centre.append(2 * matrix @ weighted_offsets.sum(dim=0, dtype=torch.float64))
            by_vectors = inner * scale - matrix @ inner
            by_shape.append(torch.cat([by_vectors.ravel(), scale * (vectors * inner).sum(dim=0)]))
        return torch.stack(by_centre), torch.stack(by_shape)

    def max_factor(self, m: Tensor, parameters: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the factor; m is subtracted before rows are squared, so the error is the square of a rounding."""
        values = parameters[:, m.shape[1] ** 2 :]
        lengths = (m * m).sum(dim=1)
        return _max_factor(values, torch.finfo(dtype).eps ** 2 * values.exp().max(dim=1).values * lengths)

    def project(self, parameters: Tensor) -> Tensor:
        projected = []
        for vectors, values in map(_split, parameters):
            noise = torch.rand(vectors.shape, generator=self._generator, dtype=vectors.dtype).to(
                vectors.device
            )
            left, _, right = torch.linalg.svd(vectors + self.noise * vectors.abs().mean() * noise)
            projected.append(torch.cat([(left @ right).ravel(), values.clamp(max=MOST_LOG_PRECISION)]))
        return torch.stack(projected)

    def scale(self, parameters: Tensor, factor: Tensor) -> Tensor:
        vectors = _dimensions(parameters.shape[1]) ** 2
        return torch.cat([parameters[:, :vectors], parameters[:, vectors:] + factor.log()], dim=1)

    def movable(self, dimensions: int) -> slice:
        return slice(dimensions * dimensions, None)

    def matrix(self, parameters: Float[np.ndarray, " s"]) -> Float[np.ndarray, "d d"]:
        d = _dimensions(len(parameters))
        vectors = parameters[: d * d].reshape(d, d)
        root = vectors * np.exp(0.5 * parameters[d * d :])
        matrix: np.ndarray = root @ root.T
        return matrix


def make_precision(name: str, seed: int) -> Precision:
    """Return the precision of this name; the seed is that of the noise in a full one."""
    kinds: dict[str, Precision] = {
        "spherical": SphericalPrecision(),
        "diagonal": DiagonalPrecision(),
        "full": FullPrecision(seed),
    }
    return kinds[name]


def select_distinct(
    precision: Precision,
    m: Float[Tensor, "k d"],
    parameters: Float[Tensor, "k s"],
    value: Float[Tensor, " k"],
    count: int,
    radii: float,
) -> list[int]:
    """Choose the best `count` of k spotlights, leaving out those within `radii` radii of a better one.

    Args:
        precision: Their kind of precision.
        m: (k, d) their centres.
        parameters: (k, s) θ of their precisions.
        value: (k,) their objectives.
        count: The largest number to choose.
        radii: The minimum distance between two of them, in radii.

    Returns:
        The chosen spotlights' indices, best first.
    """
    q = precision.quadratic_form(m, (m * m).sum(dim=1), m, parameters)
    chosen: list[int] = []
    for j in torch.argsort(value, descending=True, stable=True).tolist():
        if len(chosen) < count and bool((q[chosen, j] > radii**2).all()):
            chosen.append(j)
    return chosen


def _max_factor(logs: Float[Tensor, "k l"], rounding: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Return the factor, from the logarithms of P's eigenvalues and the error that one rounding causes in q at m."""
    allowed = (MOST_LOG_PRECISION - logs.max(dim=1).values).exp()
    return torch.minimum(allowed, MAX_KNOWN_ROUNDING / rounding)


def _dimensions(width: int) -> int:
    """Return d, given that θ has d² + d entries."""
    return (isqrt(1 + 4 * width) - 1) // 2


def _split(parameters: Float[Tensor, " s"]) -> tuple[Float[Tensor, "d d"], Float[Tensor, " d"]]:
    """Split θ of a full precision into V (d, d) and log λ (d,)."""
    d = _dimensions(len(parameters))
    return parameters[: d * d].reshape(d, d), parameters[d * d :]
