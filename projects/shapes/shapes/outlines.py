"""Outlines of the ten shapes and of ten letters and digits.

Each is a list of (n, 2) points, x to the right, y down, of any scale and
origin; a second outline, where there is one, is a hole.
"""

from functools import lru_cache, partial
from typing import Callable, Dict, List, Sequence

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

__all__ = ['GLYPHS', 'SHAPES', 'outline']


def _regular(corners: int, start: float, radii: Sequence[float]) -> np.ndarray:
    angles = start + 2 * np.pi * np.arange(corners) / corners
    radius = np.resize(radii, corners)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1)


def _circle() -> List[np.ndarray]:
    return [_regular(64, 0, [1])]


def _square() -> List[np.ndarray]:
    return [_regular(4, np.pi / 4, [1])]


def _triangle() -> List[np.ndarray]:
    return [_regular(3, -np.pi / 2, [1])]


def _star() -> List[np.ndarray]:
    return [_regular(10, -np.pi / 2, [1, 0.42])]


def _cross() -> List[np.ndarray]:
    a, b = 0.3, 1.0
    half = [(a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b)]
    return [np.array(half + [(-x, -y) for x, y in half])]


def _ring() -> List[np.ndarray]:
    return [_regular(64, 0, [1]), _regular(64, 0, [0.55])]


def _heart() -> List[np.ndarray]:
    t = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [np.stack([x, -y], 1)]


def _diamond() -> List[np.ndarray]:
    return [np.array([(0, -1), (0.62, 0), (0, 1), (-0.62, 0)])]


def _crescent() -> List[np.ndarray]:
    # A disc bitten by another: both arcs end where the two circles cross.
    shift, bite = 0.5, 0.85
    x = (1 + shift**2 - bite**2) / (2 * shift)
    y = np.sqrt(1 - x**2)
    outer = np.linspace(np.arctan2(y, x), 2 * np.pi - np.arctan2(y, x), 64)
    tip = np.arctan2(y, x - shift)
    inner = np.linspace(2 * np.pi - tip, tip, 48)
    arc = np.stack([np.cos(outer), np.sin(outer)], 1)
    bitten = np.stack([shift + bite * np.cos(inner), bite * np.sin(inner)], 1)
    return [np.concatenate([arc, bitten])]


def _arrow() -> List[np.ndarray]:
    upper = [(-1, -0.26), (0.1, -0.26), (0.1, -0.72), (1, 0)]
    return [np.array(upper + [(x, -y) for x, y in upper[-2::-1]])]


SHAPES: Dict[str, Callable[[], List[np.ndarray]]] = {
    'circle': _circle,
    'square': _square,
    'triangle': _triangle,
    'star': _star,
    'cross': _cross,
    'ring': _ring,
    'heart': _heart,
    'diamond': _diamond,
    'crescent': _crescent,
    'arrow': _arrow,
}

# Each in one piece, and no two alike when they are turned a little.
GLYPHS = ('E', 'H', 'K', 'S', 'T', 'X', '2', '4', '5', '7')


@lru_cache(maxsize=None)
def _glyph(character: str) -> List[np.ndarray]:
    """A character of the bold font that matplotlib brings along."""
    font = FontProperties(family='DejaVu Sans', weight='bold')
    path = TextPath((0, 0), character, size=100, prop=font)
    polygons = path.to_polygons()
    polygons.sort(key=lambda each: -np.ptp(each, axis=0).prod())
    return [points[:-1] * (1, -1) for points in polygons]


OUTLINES: Dict[str, Callable[[], List[np.ndarray]]] = {
    **SHAPES,
    **{character: partial(_glyph, character) for character in GLYPHS},
}


def outline(shape: str, extent: float, tilt: float) -> List[np.ndarray]:
    """Outlines of a shape at the size and angle of an object.

    Args:
        shape (str): A key of :data:`SHAPES`, or one of :data:`GLYPHS`.
        extent (float): Longer side of the turned shape in px.
        tilt (float): Angle in radians, clockwise in the picture.

    Returns:
        list[np.ndarray]: (n, 2) points in px, whose bounding box starts at
        (0, 0); the second outline, where there is one, is a hole.
    """
    turn = np.array(
        [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    )
    polygons = [points @ turn.T for points in OUTLINES[shape]()]
    low, high = polygons[0].min(0), polygons[0].max(0)
    scale = extent / (high - low).max()
    return [(points - low) * scale for points in polygons]
