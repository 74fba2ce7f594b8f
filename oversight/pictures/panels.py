"""Captioned panels side by side: the page that every picture is laid out on."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]

_PAPER, _INK = (255, 255, 255), (45, 48, 58)
_GAP, _CAPTION = 16, 34  # pixels


def panels(pictures: Mapping[str, Picture]) -> Picture:
    """Return equally large pictures in a row, each below its caption; RGB, [height, width, 3]."""
    height, width, _ = next(iter(pictures.values())).shape
    page = Image.new(
        "RGB",
        (_GAP + len(pictures) * (width + _GAP), _CAPTION + height + _GAP),
        _PAPER,
    )
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(16)
    for number, (caption, picture) in enumerate(pictures.items()):
        left = _GAP + number * (width + _GAP)
        pen.text((left + width / 2, _CAPTION / 2 + 2), caption, _INK, font, anchor="mm")
        page.paste(Image.fromarray(picture), (left, _CAPTION))
    return np.asarray(page)


def enlarge(picture: Picture, factor: int) -> Picture:
    """Return a picture with smooth edges at a multiple of its size."""
    height, width, _ = picture.shape
    size = (width * factor, height * factor)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
