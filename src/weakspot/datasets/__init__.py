"""Datasets, one file each; `base.py` is their contract, and `datamodule.py` serves any of them.

Code that datasets share is in `readers/` (reading files) and `inputs/` (what a model receives). Every class can be
imported from here; its module is imported on first use, as some take seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weakspot.lazy_imports import lazy_names

if TYPE_CHECKING:
    from weakspot.datasets.amazon import AmazonPolarity as AmazonPolarity
    from weakspot.datasets.base import Dataset as Dataset
    from weakspot.datasets.base import digest as digest
    from weakspot.datasets.celeba import CelebA as CelebA
    from weakspot.datasets.cifar10 import CIFAR10 as CIFAR10
    from weakspot.datasets.coco import COCO as COCO
    from weakspot.datasets.colored_digits import ColoredDigits as ColoredDigits
    from weakspot.datasets.csv import ImageTable as ImageTable
    from weakspot.datasets.csv import TextTable as TextTable
    from weakspot.datasets.csv import open_table as open_table
    from weakspot.datasets.datamodule import DataModule as DataModule
    from weakspot.datasets.digits import Digits as Digits
    from weakspot.datasets.fairface import FairFace as FairFace
    from weakspot.datasets.fashion_mnist import FashionMNIST as FashionMNIST
    from weakspot.datasets.huggingface import HubImages as HubImages
    from weakspot.datasets.huggingface import HubTexts as HubTexts
    from weakspot.datasets.huggingface import open_hub as open_hub
    from weakspot.datasets.image_folder import ImageFolder as ImageFolder
    from weakspot.datasets.image_parquet import ImageParquet as ImageParquet
    from weakspot.datasets.imagenet import ImageNet as ImageNet
    from weakspot.datasets.inputs.image_files import ImageFiles as ImageFiles
    from weakspot.datasets.inputs.image_shards import ImageShards as ImageShards
    from weakspot.datasets.inputs.images import ImageArray as ImageArray
    from weakspot.datasets.inputs.images import Scaling as Scaling
    from weakspot.datasets.inputs.texts import Texts as Texts
    from weakspot.datasets.iwildcam import IWildCam as IWildCam
    from weakspot.datasets.mnist import MNIST as MNIST
    from weakspot.datasets.movielens import MovieLens as MovieLens
    from weakspot.datasets.squad import SQuAD as SQuAD
    from weakspot.datasets.waterbirds import Waterbirds as Waterbirds
    from weakspot.datasets.webdataset import WebDataset as WebDataset
    from weakspot.datasets.xray import XRay as XRay

__all__ = [
    "CIFAR10",
    "COCO",
    "MNIST",
    "AmazonPolarity",
    "CelebA",
    "ColoredDigits",
    "DataModule",
    "Dataset",
    "Digits",
    "FairFace",
    "FashionMNIST",
    "HubImages",
    "HubTexts",
    "IWildCam",
    "ImageArray",
    "ImageFiles",
    "ImageFolder",
    "ImageNet",
    "ImageParquet",
    "ImageShards",
    "ImageTable",
    "MovieLens",
    "SQuAD",
    "Scaling",
    "TextTable",
    "Texts",
    "Waterbirds",
    "WebDataset",
    "XRay",
    "digest",
    "open_hub",
    "open_table",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AmazonPolarity": "weakspot.datasets.amazon",
        "CIFAR10": "weakspot.datasets.cifar10",
        "COCO": "weakspot.datasets.coco",
        "CelebA": "weakspot.datasets.celeba",
        "ColoredDigits": "weakspot.datasets.colored_digits",
        "DataModule": "weakspot.datasets.datamodule",
        "Dataset": "weakspot.datasets.base",
        "Digits": "weakspot.datasets.digits",
        "FairFace": "weakspot.datasets.fairface",
        "FashionMNIST": "weakspot.datasets.fashion_mnist",
        "HubImages": "weakspot.datasets.huggingface",
        "HubTexts": "weakspot.datasets.huggingface",
        "IWildCam": "weakspot.datasets.iwildcam",
        "ImageArray": "weakspot.datasets.inputs.images",
        "ImageFiles": "weakspot.datasets.inputs.image_files",
        "ImageFolder": "weakspot.datasets.image_folder",
        "ImageNet": "weakspot.datasets.imagenet",
        "ImageParquet": "weakspot.datasets.image_parquet",
        "ImageShards": "weakspot.datasets.inputs.image_shards",
        "ImageTable": "weakspot.datasets.csv",
        "MNIST": "weakspot.datasets.mnist",
        "MovieLens": "weakspot.datasets.movielens",
        "SQuAD": "weakspot.datasets.squad",
        "Scaling": "weakspot.datasets.inputs.images",
        "TextTable": "weakspot.datasets.csv",
        "Texts": "weakspot.datasets.inputs.texts",
        "Waterbirds": "weakspot.datasets.waterbirds",
        "WebDataset": "weakspot.datasets.webdataset",
        "XRay": "weakspot.datasets.xray",
        "digest": "weakspot.datasets.base",
        "open_hub": "weakspot.datasets.huggingface",
        "open_table": "weakspot.datasets.csv",
    },
)
