"""Fashion-MNIST (Xiao et al., 2017): clothes, in files like MNIST's."""

from __future__ import annotations

import torchvision

from weakspot.datasets.mnist import MNIST


class FashionMNIST(MNIST):
    """Holds 70 000 grey 28×28 images of clothes in ten classes; everything else is as in `MNIST`."""

    published = torchvision.datasets.FashionMNIST
    classes = tuple(torchvision.datasets.FashionMNIST.classes)
    advice = (
        ", or on Debian apt-get install dataset-fashion-mnist "
        "and set dataset.root=/usr/share/datasets/fashion-mnist"
    )
