"""The exchangeable matrix autoencoder: against the paper's formula on a dense matrix, and by its symmetries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weakspot.models.matrix_autoencoder import ExchangeableLayer, MatrixAutoencoder, MatrixEntries
from weakspot.tasks import Rating

TASK = Rating(("1", "2", "3", "4", "5"))
N_USERS, N_MOVIES = 7, 9


def batch(seed: int = 0, asked: int = 12) -> dict[str, Tensor]:
    """Some pairs to predict and known ratings of other pairs; the last user and movie have no ratings."""
    torch.manual_seed(seed)
    pairs = torch.randperm((N_USERS - 1) * (N_MOVIES - 1))
    user, movie = pairs // (N_MOVIES - 1), pairs % (N_MOVIES - 1)
    return {
        "user": torch.cat([user[: asked - 1], torch.tensor([N_USERS - 1])]),
        "movie": torch.cat([movie[: asked - 1], torch.tensor([N_MOVIES - 1])]),
        "known_user": user[asked:],
        "known_movie": movie[asked:],
        "known_rating": torch.randint(0, 5, (len(pairs) - asked,)),
    }


@pytest.fixture
def model() -> MatrixAutoencoder:
    torch.manual_seed(1)
    return MatrixAutoencoder(TASK, encoder=(8, 6), factors=4, decoder=(8, 7), dropout=0.5).double().eval()


def test_the_model_is_its_head_applied_to_its_embedding(model: MatrixAutoencoder) -> None:
    x = batch()
    z = model.embed(x)
    assert z.shape == (12, model.embedding_size) == (12, 7)
    assert torch.equal(model.head(z), model(x))
    assert model.cam_layer is None


@torch.no_grad()
def test_layer_matches_the_papers_formula() -> None:
    """On a dense matrix with a mask, as in the paper."""
    torch.manual_seed(0)
    layer = ExchangeableLayer(3, 5).double()
    mask = torch.rand(N_USERS, N_MOVIES) < 0.5
    mask[2] = False  # a user without ratings must not make a nan
    dense = torch.randn(N_USERS, N_MOVIES, 3, dtype=torch.float64) * mask[..., None]
    per_user = dense.sum(1, keepdim=True) / mask.sum(1).clamp(min=1)[:, None, None]
    per_movie = dense.sum(0, keepdim=True) / mask.sum(0).clamp(min=1)[None, :, None]
    expected = (
        dense @ layer.own.weight.T
        + per_user @ layer.user.weight.T
        + per_movie @ layer.movie.weight.T
        + dense.sum((0, 1)) / mask.sum() @ layer.all.weight.T
        + layer.own.bias
    )
    user, movie = mask.nonzero(as_tuple=True)
    found = layer(dense[user, movie], MatrixEntries.of(user, movie, N_USERS, N_MOVIES))
    torch.testing.assert_close(found, expected[user, movie])


@torch.no_grad()
def test_renumbering_users_and_movies_changes_nothing(model: MatrixAutoencoder) -> None:
    x = batch()
    users, movies = torch.randperm(N_USERS), torch.randperm(N_MOVIES)
    order = torch.randperm(len(x["known_user"]))
    renumbered = {
        "user": users[x["user"]],
        "movie": movies[x["movie"]],
        "known_user": users[x["known_user"]][order],
        "known_movie": movies[x["known_movie"]][order],
        "known_rating": x["known_rating"][order],
    }
    torch.testing.assert_close(model(renumbered), model(x))


@torch.no_grad()
def test_a_prediction_does_not_depend_on_the_other_pairs_of_the_batch(model: MatrixAutoencoder) -> None:
    x = batch()
    alone = torch.cat([model(x | {"user": x["user"][[n]], "movie": x["movie"][[n]]}) for n in range(12)])
    torch.testing.assert_close(alone, model(x))


@torch.no_grad()
def test_the_ratings_to_predict_are_hidden(model: MatrixAutoencoder) -> None:
    x = batch()
    asked = x | {"user": x["known_user"][:10], "movie": x["known_movie"][:10]}
    seen = model(asked)
    changed = asked["known_rating"].clone()
    changed[:10] = (changed[:10] + 2) % 5
    assert torch.equal(model(asked | {"known_rating": changed}), seen)
    left = {name: x[name][10:] for name in x if name.startswith("known")}
    assert torch.equal(model(asked | left), seen)
    changed[10:] = (changed[10:] + 2) % 5
    assert not torch.allclose(model(asked | {"known_rating": changed}), seen)


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 5, 30])
def test_the_prediction_for_a_known_pair_does_not_depend_on_its_batch(
    model: MatrixAutoencoder, size: int
) -> None:
    """The known ratings of its part are hidden, whatever else is asked; in training, those of the batch are."""
    x = batch(asked=6)
    known = {name: column for name, column in x.items() if name.startswith("known_")}
    n = len(x["known_user"])
    known["known_part"] = torch.arange(n) % 4
    asked = {"user": x["known_user"], "movie": x["known_movie"], "part": known["known_part"]}
    whole = model(known | asked)
    for part in range(4):
        shown = known["known_part"] != part
        others = {name: column[shown] for name, column in known.items() if name != "known_part"}
        alone = {name: column[~shown] for name, column in asked.items() if name != "part"}
        torch.testing.assert_close(whole[~shown], model(others | alone))
    order = torch.randperm(n)
    for rows in order.split(size):
        torch.testing.assert_close(
            model(known | {name: column[rows] for name, column in asked.items()}), whole[rows]
        )
    held_out = {"user": x["user"], "movie": x["movie"], "part": torch.full((6,), -1)}
    torch.testing.assert_close(model(known | held_out), model(x))


@torch.no_grad()
def test_users_and_movies_without_known_ratings_get_predictions(model: MatrixAutoencoder) -> None:
    x = batch()
    nothing = {name: values[:0] for name, values in x.items() if name.startswith("known")}
    outputs = model(x | nothing)
    assert torch.isfinite(outputs).all()
    torch.testing.assert_close(outputs, outputs[:1].expand(12, 5))  # all equal
    torch.testing.assert_close(model(x)[-1], outputs[0])  # the last pair: an unknown user, an unknown movie


def test_hiding_all_known_ratings_is_refused(model: MatrixAutoencoder) -> None:
    x = batch()
    known = {"known_user": x["user"], "known_movie": x["movie"], "known_rating": x["user"] % 5}
    with pytest.raises(ValueError, match=r"all 12 known ratings are in one batch.*smaller batches"):
        model(x | known)


def test_all_weights_learn() -> None:
    """Ratings that follow from user and movie are learnt and predicted for other pairs; every weight has a gradient."""
    torch.manual_seed(0)
    user, movie = torch.cartesian_prod(torch.arange(30), torch.arange(20)).T
    rating = user % 3 + 2 * (movie % 2)
    part = torch.rand(len(user)) < 0.8
    known = {"known_user": user[part], "known_movie": movie[part], "known_rating": rating[part]}
    model = MatrixAutoencoder(TASK, encoder=(16,), factors=8, decoder=(16, 16), dropout=0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        chosen = torch.randperm(int(part.sum()))[:100]
        x = known | {"user": known["known_user"][chosen], "movie": known["known_movie"][chosen]}
        optimizer.zero_grad()
        TASK.losses(model(x), known["known_rating"][chosen]).mean().backward()
        optimizer.step()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
    outputs = model.eval()(known | {"user": user[~part], "movie": movie[~part]})
    assert (outputs.argmax(1) == rating[~part]).float().mean() > 0.9


def test_dropout_is_used_only_in_training(model: MatrixAutoencoder) -> None:
    x = batch()
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder": ()}, "needs positive widths and a decoder"),
        ({"encoder": (8, 0)}, "needs positive widths"),
        ({"factors": 0}, "needs positive widths"),
        ({"dropout": 1.0}, "at least 0 and below 1"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MatrixAutoencoder(TASK, **settings)
