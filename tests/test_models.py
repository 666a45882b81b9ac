"""Models: the split into embedding and head is exact, for every family."""

from __future__ import annotations

import pytest
import torch

from weakspot.models import SmallCNN
from weakspot.tasks import Classification

DIGITS = Classification(tuple("0123456789"))


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (28, 45)])
def test_small_cnn_is_its_head_over_its_embedding(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = SmallCNN(DIGITS).eval()
    x = torch.rand(5, 3, *size)
    z = model.embed(x)
    assert z.shape == (5, model.embedding_size)
    assert torch.equal(model.head(z), model(x))
    assert model(x).shape == (5, 10)


def test_small_cnn_sees_where_things_are() -> None:
    """Two images with the same pixels in another order differ: the maps are not pooled to one value."""
    torch.manual_seed(0)
    model = SmallCNN(DIGITS).eval()
    left = torch.zeros(1, 3, 32, 32)
    left[..., :16] = 1
    assert (model.embed(left) - model.embed(left.flip(-1))).abs().max() > 1e-3


def test_small_cnn_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="at least 8×8 pixels, not 7×9"):
        SmallCNN(DIGITS)(torch.zeros(1, 3, 7, 9))
    with pytest.raises(ValueError, match="positive widths"):
        SmallCNN(DIGITS, channels=())
