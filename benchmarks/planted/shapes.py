"""SpotCheck's images: shapes whose presence, size, colour, texture and place are rolled, and blind spots among them.

Plumb, Johnson, Cabrera, Talwalkar (TMLR 2023); the choices are those of the authors' public code. Images are drawn at
224 × 224 pixels and averaged over 8 × 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw, ImageFont

_SIDE, _SHRINK, _APART, _STRIPE = 224, 8, 5, 5
_BLUE, _ORANGE, _STRIPES = (31, 119, 180), (255, 127, 14), (0, 0, 0)
_SIZES: dict[str, tuple[Any, Any]] = {  # the size if none is rolled, and the alternative
    "square": ((40, 40), (20, 20)),
    "rectangle": ((30, 50), (15, 25)),
    "circle": ((40, 40), (20, 20)),
    "text": (25, 50),
}
_TRIES = 1000  # to draw a blind spot, before everything is drawn again
TARGET = ("square", "presence")

Attribute = tuple[str, str]
"""An object and its property that is rolled: ("circle", "color")."""


@dataclass(frozen=True)
class Configuration:
    """Which attributes are rolled, each by the toss of a coin, and the blind spots.

    Attributes:
        objects: The objects of every image, in drawing order.
        rolled: The attributes that are rolled; those of an object have no effect if it is absent.
        spots: Conjunctions of values of attributes. The square is present in all of them.
    """

    objects: tuple[str, ...]
    rolled: tuple[Attribute, ...]
    spots: tuple[dict[Attribute, bool], ...]

    @classmethod
    def drawn(cls, random: np.random.Generator, sizes: tuple[int, int], most_spots: int = 3) -> Configuration:
        """Draw a configuration as the authors do: one to three more objects, five to seven choices beside the square.

        Args:
            random: The random generator.
            sizes: The smallest and largest number of attributes of a blind spot beside the square's presence.
            most_spots: The largest number of blind spots; any two differ in at least two attributes that they share.
        """
        while True:
            objects, rolled = _rolled(random)
            spots: list[dict[Attribute, bool]] = []
            wanted = random.integers(sizes[0], sizes[1] + 1, size=random.integers(1, most_spots + 1)).tolist()
            for size in wanted:
                tried = (_spot(rolled, size, random) for _ in range(_TRIES))
                apart = (
                    one
                    for one in tried
                    if one and all(_count_differences(one, other) >= 2 for other in spots)
                )
                spots += [spot for spot in [next(apart, None)] if spot is not None]
            if len(spots) == len(wanted):
                return cls(objects, tuple(rolled), tuple(spots))

    def image(self, random: np.random.Generator) -> tuple[np.ndarray, dict[Attribute, bool]]:
        """Draw an image, (3, 28, 28) uint8, and return it with the values of its attributes."""
        values = {attribute: bool(random.integers(2)) for attribute in self.rolled}
        pixels = np.full(
            (_SIDE, _SIDE, 3), 200 if values.get(("background", "color")) else 255, dtype=np.uint8
        )
        if values.get(("background", "texture")):
            pixels[random.random((_SIDE, _SIDE)) >= 0.9] = 100
        boxes: list[tuple[int, int, int, int]] = []
        for one in self.objects[1:]:
            for _ in range((1 + values.get((one, "number"), False)) * values[one, "presence"]):
                shape = _shape(one, values.get((one, "size"), False))
                top, left = _place(shape.shape, boxes, random)
                boxes.append((top, left, *shape.shape))
                under = pixels[top : top + shape.shape[0], left : left + shape.shape[1]]
                under[shape] = _ORANGE if values.get((one, "color")) else _BLUE
                if values.get((one, "texture")):
                    bars = (np.arange(shape.shape[1]) // _STRIPE) % 2 == 0
                    under[shape & bars] = _STRIPES
                if one == "square":
                    middle = top + shape.shape[0] / 2
                    values["background", "relative-position"] = middle < _SIDE / 2
        small = np.asarray(Image.fromarray(pixels).reduce(_SHRINK))
        return small.transpose(2, 0, 1), values

    def images(
        self, n: int, random: np.random.Generator
    ) -> tuple[np.ndarray, Bool[np.ndarray, " n"], Bool[np.ndarray, "s n"]]:
        """Draw n images; return them, which hold a square, and which are in each of the blind spots."""
        drawn = [self.image(random) for _ in range(n)]
        inside = [
            [all(values[attribute] == value for attribute, value in spot.items()) for _, values in drawn]
            for spot in self.spots
        ]
        return (
            np.stack([image for image, _ in drawn]),
            np.array([v[TARGET] for _, v in drawn]),
            np.array(inside),
        )


def _rolled(random: np.random.Generator) -> tuple[tuple[str, ...], list[Attribute]]:
    """Draw the objects, and which of their attributes are rolled."""
    more = random.permutation(["rectangle", "circle", "text"])[: random.integers(1, 4)].tolist()
    objects = ("background", "square", *more)
    options = {one: ["size", "color", "texture"] for one in objects}
    options["background"].remove("size")
    options["square"].append("number")
    rolled = [(one, "presence") for one in objects[1:]]
    for _ in range(int(random.integers(5, 8)) - len(more)):
        one = str(random.choice([name for name in objects if options[name]]))
        rolled.append((one, options[one].pop(random.integers(len(options[one])))))
    rolled.append(("background", "relative-position"))  # whether the square is in the upper half
    return objects, rolled


def _spot(rolled: list[Attribute], size: int, random: np.random.Generator) -> dict[Attribute, bool] | None:
    """Draw a blind spot: the square and `size` more attributes, those of another object only if it is present."""
    spot = {TARGET: True}
    for _ in range(size):
        choices = [
            one
            for one in rolled
            if one not in spot
            and (one[1] == "presence" or one[0] == "background" or (one[0], "presence") in spot)
        ]
        if not choices:
            return None
        chosen = choices[random.integers(len(choices))]
        spot[chosen] = bool(random.integers(2))
        if chosen[1] != "presence" and chosen[0] != "background":
            spot[chosen[0], "presence"] = True
    return spot


def _count_differences(a: dict[Attribute, bool], b: dict[Attribute, bool]) -> int:
    return sum(a[one] != b[one] for one in a.keys() & b.keys())


def _shape(name: str, other: bool) -> Bool[np.ndarray, "h w"]:
    size = _SIZES[name][other]
    if name == "text":
        font = ImageFont.load_default(size)
        left, top, right, bottom = font.getbbox("text")
        canvas = Image.new("1", (int(right - left), int(bottom - top)))
        ImageDraw.Draw(canvas).text((-left, -top), "text", fill=1, font=font)
        return np.asarray(canvas)
    if name == "circle":
        y, x = np.ogrid[: size[0], : size[1]]
        middle = (size[0] - 1) / 2
        return np.asarray((y - middle) ** 2 + (x - middle) ** 2 <= (size[0] / 2) ** 2)
    return np.ones(size, dtype=bool)


def _place(
    shape: tuple[int, ...], boxes: list[tuple[int, int, int, int]], random: np.random.Generator
) -> tuple[int, int]:
    """Return the top and left of a free place, at a distance from everything that is drawn."""
    while True:
        top, left = (int(random.integers(0, _SIDE - side + 1)) for side in shape)
        if all(
            top >= t + h + _APART
            or t >= top + shape[0] + _APART
            or left >= w0 + w + _APART
            or w0 >= left + shape[1] + _APART
            for t, w0, h, w in boxes
        ):
            return top, left
