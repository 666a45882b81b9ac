"""An autoencoder of a matrix of ratings that does not depend on the order of users and movies.

Hartford, Graham, Leyton-Brown, Ravanbakhsh, "Deep Models of Interactions Across Sets", ICML 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from weakspot.models.base import Model
from weakspot.tasks import Task

_SLOPE = 0.01


class MatrixAutoencoder(Model):
    """Encodes known ratings into factors of users and movies, and decodes pairs of factors into ratings.

    It is the factorised exchangeable autoencoder of the paper.

    The encoder turns each known rating, one-hot, through exchangeable layers into features, whose means over
    a user's and over a movie's ratings are their factors. The decoder makes logits of the two factors of a
    pair. Nothing is learnt about any single user or movie, so it also works for those it was not trained on.

    `x` holds the pairs to predict, `user` and `movie` (n,), and the known ratings that they are predicted from,
    `known_user`, `known_movie` and `known_rating` (m,). The pairs to predict are removed from the known ones
    (ValueError if this leaves none). Outside training, if `part` (n,) and `known_part` (m,) give each pair's part,
    a pair is predicted without the known pairs of its own part: the prediction of a known pair then does not
    depend on its batch, as it does in training.
    Users and movies are positions, from 0; a rating is a class of the task. A user or movie without known ratings
    has factors of 0.

    encoder, decoder   widths of their hidden layers
    factors            features of a user, and of a movie
    dropout            share of features left out in training, after every hidden layer

    The layers are those of the network that the Spotlight paper audits (AutoEncSets: widths 150, factors 32,
    dropout 0.5), but its decoder also pools over the pairs to predict; here each pair is decoded on its own.
    """

    def __init__(
        self,
        task: Task,
        encoder: Sequence[int] = (32, 32),
        factors: int = 32,
        decoder: Sequence[int] = (64, 64),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not decoder or min(*encoder, factors, *decoder) < 1:
            raise ValueError(
                f"MatrixAutoencoder needs positive widths and a decoder, not encoder={tuple(encoder)}, "
                f"factors={factors}, decoder={tuple(decoder)}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be a share, at least 0 and below 1, not {dropout}")
        self.embedding_size = decoder[-1]
        self.n_ratings = task.n_outputs
        widths = (task.n_outputs, *encoder, factors)
        self.encoder = nn.ModuleList(ExchangeableLayer(before, after) for before, after in pairwise(widths))
        layers: list[nn.Module] = []
        for before, after in pairwise((2 * factors, *decoder)):
            layers += [nn.Linear(before, after), *_after_hidden(dropout)]
        self.activation = nn.Sequential(*_after_hidden(dropout))
        self.decoder = nn.Sequential(*layers)
        self.output = nn.Linear(decoder[-1], task.n_outputs)

    @property
    def cam_layer(self) -> None:
        return None

    def embed(self, x: Mapping[str, Tensor]) -> Float[Tensor, "n d"]:
        if self.training or "part" not in x:
            return self._embed(x)
        parts = sorted(set(x["part"].tolist()))
        order = torch.cat([(x["part"] == part).nonzero()[:, 0] for part in parts])
        embedded = torch.cat([self._embed(_part(x, part)) for part in parts])
        return embedded[order.argsort()]

    def _embed(self, x: Mapping[str, Tensor]) -> Float[Tensor, "n d"]:
        entries, rating = _known(x)
        features = one_hot(rating, self.n_ratings).to(self.output.weight.dtype)
        for index, layer in enumerate(self.encoder):
            features = layer(features if index == 0 else self.activation(features), entries)
        factors = [
            entries.user_means(features).index_select(0, x["user"]),
            entries.movie_means(features).index_select(0, x["movie"]),
        ]
        z: Tensor = self.decoder(torch.cat(factors, dim=1))
        return z

    def head(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n C"]:
        y: Tensor = self.output(z)
        return y


class ExchangeableLayer(nn.Module):
    """Computes each entry of a sparse matrix from itself, its row's mean, its column's mean and the mean of all.

    y_um = W₁ x_um + W₂ mean_m' x_um' + W₃ mean_u' x_u'm + W₄ mean x + b, means being over known entries:
    the most general linear layer that commutes with every reordering of rows and of columns (section 2 of the
    paper).
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.own = nn.Linear(before, after)
        self.user, self.movie, self.all = (nn.Linear(before, after, bias=False) for _ in range(3))

    def forward(
        self, features: Float[Tensor, "m before"], entries: MatrixEntries
    ) -> Float[Tensor, "m after"]:
        of_users = self.user(entries.user_means(features)).index_select(0, entries.user)
        of_movies = self.movie(entries.movie_means(features)).index_select(0, entries.movie)
        of_all = self.all(features.sum(dim=0) / max(len(features), 1))
        y: Tensor = self.own(features) + of_users + of_movies + of_all
        return y


@dataclass(frozen=True)
class MatrixEntries:
    """Holds the positions (m,) of the known entries of a matrix, and their number (at least 1) by row and column."""

    user: Int[Tensor, " m"]
    movie: Int[Tensor, " m"]
    per_user: Float[Tensor, " users"]
    per_movie: Float[Tensor, " movies"]

    @classmethod
    def of(cls, user: Tensor, movie: Tensor, n_users: int, n_movies: int) -> MatrixEntries:
        counts = (user.bincount(minlength=n_users), movie.bincount(minlength=n_movies))
        return cls(user, movie, *(count.clamp(min=1).float() for count in counts))

    def user_means(self, features: Float[Tensor, "m d"]) -> Float[Tensor, "users d"]:
        return _means(features, self.user, self.per_user)

    def movie_means(self, features: Float[Tensor, "m d"]) -> Float[Tensor, "movies d"]:
        return _means(features, self.movie, self.per_movie)


def _after_hidden(dropout: float) -> tuple[nn.Module, nn.Module]:
    return nn.LeakyReLU(_SLOPE), nn.Dropout(dropout)


def _means(features: Tensor, group: Tensor, counts: Tensor) -> Tensor:
    """Return the mean of the features (m, d) in each group; 0 in an empty group."""
    sums = features.new_zeros(len(counts), features.shape[1]).index_add(0, group, features)
    return sums / counts[:, None].to(sums.dtype)


def _part(x: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
    """Return the pairs to predict in this part, and the known pairs of all other parts."""
    queried, visible = x["part"] == part, x["known_part"] != part
    return {name: column[visible if name.startswith("known_") else queried] for name, column in x.items()}


def _known(x: Mapping[str, Tensor]) -> tuple[MatrixEntries, Int[Tensor, " m"]]:
    """Return the known entries without those to predict, and their ratings."""
    n_users, n_movies = (
        int(torch.cat([x[name], x[f"known_{name}"]]).max()) + 1 for name in ("user", "movie")
    )
    queried = x["user"] * n_movies + x["movie"]
    visible = ~torch.isin(x["known_user"] * n_movies + x["known_movie"], queried)
    user, movie, rating = (x[f"known_{name}"][visible] for name in ("user", "movie", "rating"))
    if len(visible) and not len(user):
        raise ValueError(
            f"all {len(visible)} known ratings are in one batch, so none is left to predict them from; "
            "use smaller batches (training.batch_size, inference.batch_size)"
        )
    return MatrixEntries.of(user, movie, n_users, n_movies), rating
