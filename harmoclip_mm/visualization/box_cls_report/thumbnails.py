"""Small pictures of boxes that fit into a page."""

import base64
import io
from typing import Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from ..drawing import WRONG_COLOR

__all__ = ['box_thumbnail']


def _window(
    box: Sequence[float], size: Tuple[int, int], context: float
) -> Tuple[int, int, int, int]:
    """A square around a box, moved and cut so that it is in the image."""
    width, height = size
    x1, y1, x2, y2 = box
    side = context * max(x2 - x1, y2 - y1, 8)
    ends = []
    for low, high, limit in ((x1, x2, width), (y1, y2, height)):
        start = (low + high) / 2 - side / 2
        start = max(0.0, min(start, limit - side))
        ends.append((int(start), min(limit, int(np.ceil(start + side)))))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def box_thumbnail(
    path: str,
    box: Sequence[float],
    side: int = 176,
    context: float = 2.0,
    quality: int = 78,
) -> Optional[str]:
    """Cut a box with its surroundings out of an image.

    Args:
        path (str): The image file.
        box (Sequence[float]): xyxy in px of the image.
        side (int): Longer side of the picture in px. Defaults to 176.
        context (float): Side of the cut in longer sides of the box. Defaults
            to 2.0.
        quality (int): Of the JPEG, 1 to 95. Defaults to 78.

    Returns:
        str: A ``data:`` URI of a JPEG with the box outlined; None where the
        file cannot be read or the box is outside of it.
    """
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert('RGB')
    except (OSError, ValueError):
        return None
    window = _window(box, image.size, context)
    if window[2] <= window[0] or window[3] <= window[1]:
        return None
    cut = image.crop(window)
    factor = side / max(cut.size)
    new_size = [max(1, round(length * factor)) for length in cut.size]
    cut = cut.resize(new_size, Image.LANCZOS if factor < 1 else Image.BICUBIC)
    pen = ImageDraw.Draw(cut)
    corners = [(value - window[i % 2]) * factor for i, value in enumerate(box)]
    corners[2:] = [max(a, b - 1) for a, b in zip(corners, corners[2:])]
    pen.rectangle(corners, outline=(255, 255, 255), width=4)
    pen.rectangle(corners, outline=WRONG_COLOR, width=2)
    data = io.BytesIO()
    cut.save(data, 'JPEG', quality=quality, optimize=True)
    code = base64.b64encode(data.getvalue()).decode('ascii')
    return f'data:image/jpeg;base64,{code}'
