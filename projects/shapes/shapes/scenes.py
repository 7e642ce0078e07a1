"""Scenes of coloured shapes with captions whose phrases are known exactly.

A scene shows a few objects, each a size, a colour, a texture and a
shape, on a noisy background; its caption names every object once. All of it is
drawn from one random generator, so a scene is a function of that generator's
seed alone. Nothing here touches files: see ``make_data.py``.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw

from .outlines import SHAPES, outline

__all__ = [
    'COLOURS',
    'SHAPES',
    'TEXTURES',
    'VOCABULARY',
    'WORLDS',
    'Scene',
    'SceneObject',
    'draw_scene',
]

# 8 colours x 10 shapes, colour first. Group `novel`: 12 combinations that
# never occur in training, with every colour and every shape among them;
# `base`: the other 68.
VOCABULARY = Path(__file__).with_name('shapes80.json')
# The same with letters and digits as shapes.
WORLDS = {
    'shapes': VOCABULARY,
    'glyphs': Path(__file__).with_name('glyphs80.json'),
}
COLOURS: Dict[str, Tuple[int, int, int]] = {
    'red': (222, 38, 38),
    'green': (40, 168, 60),
    'blue': (40, 78, 226),
    'yellow': (240, 218, 40),
    'purple': (150, 52, 196),
    'orange': (244, 134, 22),
    'cyan': (42, 210, 222),
    'white': (244, 244, 244),
}
TEXTURES = ('plain', 'striped', 'dotted')
# Side of an object as a fraction of the image side. The gap between the two
# ranges keeps the words "small" and "large" unambiguous.
SMALL, LARGE = (0.22, 0.28), (0.34, 0.45)
MAX_SCALE = 1.6  # beyond, three objects may find no room

_SUPERSAMPLING = 4
_VISIBLE_ALPHA = 0.25  # a pixel belongs to an object from this coverage on
_MAX_TILT = np.deg2rad(10)  # more would turn a square into a diamond
_TEXTURE_DEPTH = 0.42  # darker stripes would break a small outline apart

_OPENINGS = (
    '',
    'a photo of ',
    'a picture of ',
    'an image showing ',
    'a scene with ',
    'there is ',
    'we see ',
)
_JOINTS = (' and ', ' with ', ' next to ', ' together with ', ' beside ')
_ENDINGS = ('', '', '', ' on a noisy background', ' in one picture', '.')


@dataclass(frozen=True)
class SceneObject:
    """One drawn object.

    Attributes:
        size (str): ``small`` or ``large``.
        colour (str): A key of :data:`COLOURS`.
        texture (str): One of :data:`TEXTURES`.
        shape (str): A key of :data:`SHAPES`, or a letter or digit.
        bbox (tuple[int]): Tight box ``(x1, y1, x2, y2)`` in px, the right and
            lower ends exclusive.
        area (int): Number of its visible pixels.
        phrase (str): What the caption calls it.
        span (tuple[int]): Start and end (exclusive) of the phrase in the
            caption, in characters.
    """

    size: str
    colour: str
    texture: str
    shape: str
    bbox: Tuple[int, int, int, int] = (0, 0, 0, 0)
    area: int = 0
    phrase: str = ''
    span: Tuple[int, int] = (0, 0)

    @property
    def category(self) -> str:
        """str: Colour and shape, a class of :data:`VOCABULARY`."""
        return f'{self.colour} {self.shape}'


@dataclass(frozen=True)
class Scene:
    """A picture, its caption and its objects in the order of the caption.

    Attributes:
        image (np.ndarray): RGB, uint8, of shape (side, side, 3).
        caption (str): A sentence that names every object once.
        objects (tuple[SceneObject]): Its objects.
    """

    image: np.ndarray
    caption: str
    objects: Tuple[SceneObject, ...]


# --- pixels ---


def _background(rng: np.random.Generator, side: int) -> np.ndarray:
    """Dim clouds of low saturation plus pixel noise, float32 (side, side, 3).

    Dim, so that each of the colours stands out, white included.
    """
    brightness = rng.uniform(45, 125)
    coarse = brightness + rng.normal(0, 22, (4, 4, 1))
    coarse = np.clip(coarse + rng.normal(0, 9, (4, 4, 3)), 0, 255)
    clouds = Image.fromarray(coarse.astype(np.uint8)).resize(
        (side, side), Image.BICUBIC
    )
    grey = rng.standard_normal((side, side, 1), np.float32) * 11
    tint = rng.standard_normal((side, side, 3), np.float32) * 5
    return np.asarray(clouds, np.float32) + grey + tint


def _texture(
    rng: np.random.Generator, name: str, height: int, width: int, side: int
) -> np.ndarray:
    """Where the dark parts of a texture lie, in [0, 1], (height, width)."""
    if name == 'plain':
        return np.zeros((height, width), np.float32)
    period = side * rng.uniform(0.065, 0.085)
    angle = rng.choice([0, 0.25, 0.5, 0.75]) * np.pi + rng.normal(0, 0.1)
    y, x = np.mgrid[:height, :width] * (2 * np.pi / period)
    along = np.cos(x * np.cos(angle) + y * np.sin(angle))
    if name == 'striped':
        wave = along
    else:
        across = np.cos(y * np.cos(angle) - x * np.sin(angle))
        wave = along + across - 0.45
    # A steep ramp instead of a step keeps the edges antialiased.
    return np.clip(0.5 + 1.6 * wave, 0, 1).astype(np.float32)


def _coverage(
    polygons: Sequence[np.ndarray], position: np.ndarray
) -> Tuple[np.ndarray, int, int]:
    """Antialiased coverage in [0, 1] of a placed outline.

    Returns:
        tuple: coverage (h, w), and the image row and column of its corner.
    """
    left, top = np.floor(position).astype(int)
    moved = [points + (position - (left, top)) for points in polygons]
    width, height = (np.ceil(moved[0].max(0)) + 1).astype(int)
    fine = Image.new('L', (width * _SUPERSAMPLING, height * _SUPERSAMPLING))
    pen = ImageDraw.Draw(fine)
    for points, fill in zip(moved, (255, 0)):
        # Pillow counts pixel centres: a half px back to the pixel's corner.
        corners = points * _SUPERSAMPLING - 0.5
        pen.polygon([tuple(corner) for corner in corners.tolist()], fill=fill)
    alpha = np.asarray(fine.reduce(_SUPERSAMPLING), np.float32) / 255
    return alpha, int(top), int(left)


def _paint(
    rng: np.random.Generator,
    canvas: np.ndarray,
    thing: SceneObject,
    polygons: Sequence[np.ndarray],
    position: np.ndarray,
) -> SceneObject:
    """Draw one object onto the canvas in place; gives its box and area."""
    side = canvas.shape[0]
    alpha, top, left = _coverage(polygons, position)
    alpha = alpha[: side - top, : side - left]
    height, width = alpha.shape
    colour = np.array(COLOURS[thing.colour], np.float32)
    colour = colour * rng.uniform(0.9, 1.05) + rng.normal(0, 5, 3)
    dark = _texture(rng, thing.texture, height, width, side)
    paint = colour * (1 - _TEXTURE_DEPTH * dark[..., None])
    paint = paint + rng.normal(0, 4, (height, width, 1))
    patch = canvas[top : top + height, left : left + width]
    patch += alpha[..., None] * (paint - patch)

    rows, cols = np.nonzero(alpha >= _VISIBLE_ALPHA)
    bbox = (
        left + int(cols.min()),
        top + int(rows.min()),
        left + int(cols.max()) + 1,
        top + int(rows.max()) + 1,
    )
    return replace(thing, bbox=bbox, area=len(rows))


# --- arrangement and words ---


def _arrange(
    rng: np.random.Generator,
    things: Sequence[SceneObject],
    side: int,
    scale: float,
) -> Tuple[List[SceneObject], List[List[np.ndarray]], List[np.ndarray]]:
    """Sizes and places without overlap. When a scene does not fit, a large
    object becomes small and all are placed anew."""
    things = list(things)
    while True:
        outlines = []
        for thing in things:
            low, high = SMALL if thing.size == 'small' else LARGE
            extent = rng.uniform(low, high) * scale * side
            tilt = rng.uniform(-_MAX_TILT, _MAX_TILT)
            outlines.append(outline(thing.shape, extent, tilt))
        positions = _place(
            rng, np.array([p[0].max(0) for p in outlines]), side
        )
        if positions is not None:
            return things, outlines, positions
        large = [i for i, t in enumerate(things) if t.size == 'large']
        if large:
            chosen = large[rng.integers(len(large))]
            things[chosen] = replace(things[chosen], size='small')


def _place(
    rng: np.random.Generator, extents: np.ndarray, side: int
) -> Optional[List[np.ndarray]]:
    """Upper left corners of boxes of these extents that keep 1 px between
    them, the larger ones placed first; None if 40 tries for one fail."""
    lows = np.zeros((len(extents), 2))
    order = sorted(range(len(extents)), key=lambda i: -extents[i].max())
    for rank, i in enumerate(order):
        done = order[:rank]
        tries = rng.uniform(1, side - 1 - extents[i], (40, 1, 2))
        after = tries > lows[done] + extents[done] + 1
        before = tries + extents[i] < lows[done] - 1
        free = np.flatnonzero((after | before).any(2).all(1))
        if not len(free):
            return None
        lows[i] = tries[free[0], 0]
    return list(lows)


def _phrase(
    rng: np.random.Generator, thing: SceneObject, details: float
) -> str:
    """Colour and shape always, size and texture sometimes."""
    words = []
    if rng.random() < details:
        words.append(thing.size)
    if rng.random() < details:
        words.append(thing.texture)
    return ' '.join([*words, thing.colour, thing.shape])


def _describe(
    rng: np.random.Generator, things: Sequence[SceneObject], details: float
) -> Tuple[str, List[SceneObject]]:
    """A caption that names the objects in this order, with their spans."""
    caption = _OPENINGS[rng.integers(len(_OPENINGS))]
    joint = _JOINTS[rng.integers(len(_JOINTS))]
    if joint == ' and ' and len(things) > 2:
        joint = ', '
    told = []
    for i, thing in enumerate(things):
        if i == 1:
            caption += joint
        elif i > 1:
            caption += ' and ' if i == len(things) - 1 else ', '
        phrase = _phrase(rng, thing, details)
        caption += 'an ' if phrase[0] in 'aeiou' else 'a '
        span = (len(caption), len(caption) + len(phrase))
        caption += phrase
        told.append(replace(thing, phrase=phrase, span=span))
    return caption + _ENDINGS[rng.integers(len(_ENDINGS))], told


def draw_scene(
    rng: np.random.Generator,
    categories: Sequence[str],
    side: int = 80,
    objects: Tuple[int, int] = (2, 5),
    scale: float = 1.0,
    details: float = 0.6,
    textures: Sequence[str] = TEXTURES,
) -> Scene:
    """Draw one scene with its caption.

    Args:
        rng (np.random.Generator): The only source of randomness.
        categories (Sequence[str]): Pairs ``"{colour} {shape}"`` to choose from
            evenly and without repetition in a scene.
        side (int): Width and height of the picture in px, at least 32.
        objects (tuple[int]): Fewest and most objects of a scene, in [1, 5].
        scale (float): Factor of the objects' sides, in [0.5, 1.6]; above 1
            only for at most 3 objects, since more would find no room.
        details (float): Probability that a phrase tells the size, and the
            same for the texture, in [0, 1].
        textures (Sequence[str]): Textures to choose from evenly. Defaults to
            all of :data:`TEXTURES`.

    Returns:
        Scene: The picture, its caption and its objects.

    Raises:
        ValueError: If the picture would be too small to tell shapes apart,
            there are fewer categories than objects, or the objects would
            find no room, or ``details`` is no probability, or a texture is
            unknown.
    """
    if side < 32:
        raise ValueError(f'side is {side} px; shapes need at least 32 px')
    low, high = objects
    if not 1 <= low <= high <= 5:
        raise ValueError(f'a scene holds 1 to 5 objects, not {low} to {high}')
    if len(categories) < high:
        raise ValueError(
            f'a scene of up to {high} objects needs {high} categories'
        )
    if not 0.5 <= scale <= (1 if high > 3 else MAX_SCALE):
        raise ValueError(
            f'scale is {scale}; it must be at least 0.5, and at most 1, or '
            f'{MAX_SCALE} where a scene has at most 3 objects'
        )
    if not 0 <= details <= 1:
        raise ValueError(f'details is {details}; it is a probability')
    if not textures or set(textures) - set(TEXTURES):
        raise ValueError(
            f'textures are {list(textures)}; there are {list(TEXTURES)}'
        )
    count = int(rng.integers(low, high + 1))
    chosen = rng.choice(len(categories), count, replace=False)
    things = []
    for index in chosen:
        colour, shape = categories[index].rsplit(' ', 1)
        size = ('small', 'large')[rng.integers(2)]
        texture = textures[rng.integers(len(textures))]
        things.append(SceneObject(size, colour, texture, shape))
    things, outlines, positions = _arrange(rng, things, side, scale)
    canvas = _background(rng, side)
    things = [
        _paint(rng, canvas, thing, polygons, position)
        for thing, polygons, position in zip(things, outlines, positions)
    ]
    caption, things = _describe(rng, things, details)
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return Scene(image=image, caption=caption, objects=tuple(things))
