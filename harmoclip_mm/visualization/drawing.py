"""Boxes with tags, and texts with marked spans, drawn by Pillow.

mmengine's visualizer writes by matplotlib, which puts tags on top of each
other, breaks no lines and reads `$` as the begin of a formula. Everything here
works on RGB uint8 arrays and plain lists, so that it serves data sets,
predictions and reports alike.
"""

import re
from functools import lru_cache
from itertools import groupby
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont, ImageOps

Color = Tuple[int, int, int]
Box = Tuple[float, float, float, float]

# Ten hues that stay apart on photos and, lightened, under black text.
PALETTE: Tuple[Color, ...] = (
    (230, 57, 70),
    (29, 120, 216),
    (42, 157, 80),
    (244, 140, 6),
    (142, 68, 173),
    (0, 168, 181),
    (214, 51, 132),
    (122, 148, 20),
    (121, 85, 72),
    (84, 96, 160),
)
# Blue and vermilion of Okabe and Ito's palette, "Color Universal Design"
# (2008): apart for colour-blind people too, unlike green and red.
RIGHT_COLOR: Color = (0, 114, 178)
WRONG_COLOR: Color = (213, 94, 0)
INK, SOFT, PAPER = (33, 37, 41), (86, 96, 107), (255, 255, 255)


@lru_cache(maxsize=32)
def load_font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font of all pictures.

    Args:
        size (int): In px.
        bold (bool): Whether to take the bold one. Defaults to False.

    Returns:
        FreeTypeFont: DejaVu Sans.
    """
    # DejaVu comes with matplotlib, so it is there on every machine.
    properties = font_manager.FontProperties(
        family='DejaVu Sans', weight='bold' if bold else 'normal'
    )
    return ImageFont.truetype(font_manager.findfont(properties), size)


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def _place_tag(
    box: Box, size: Tuple[int, int], canvas: Tuple[int, int], taken: List[Box]
) -> Box:
    """Where a tag goes: above, inside or below its box, whichever hides the
    fewest of the tags that are there already."""
    width, height = size
    places = []
    for left in (box[0], box[2] - width):
        for top in (box[1] - height, box[1], box[3], box[3] - height):
            x = max(0, min(left, canvas[0] - width))
            y = max(0, min(top, canvas[1] - height))
            places.append((x, y, x + width, y + height))
    return min(
        places, key=lambda place: sum(_overlap(place, tag) for tag in taken)
    )


def _ends(text: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """Where each character ends, in px from the begin of the text."""
    return np.cumsum([font.getlength(character) for character in text])


def draw_regions(
    image: np.ndarray,
    bboxes: Sequence[Box],
    texts: Sequence[str],
    colors: Optional[Sequence[Color]] = None,
    scale: float = 1.0,
    font_size: Optional[int] = None,
) -> np.ndarray:
    """Draw boxes with tags.

    Args:
        image (np.ndarray): RGB uint8 (H, W, 3).
        bboxes (Sequence): N boxes ``(x1, y1, x2, y2)`` in px; an array or
            tensor of shape (N, 4) is fine.
        texts (Sequence[str]): N texts; an empty one has no tag, one that is
            wider than the picture is cut.
        colors (Sequence[tuple[int]], optional): N RGB colours. Defaults to
            those of the palette in order.
        scale (float): Factor from the boxes' px to the picture's. Defaults
            to 1.0.
        font_size (int, optional): In px. Defaults to a size that suits the
            picture.

    Returns:
        np.ndarray: RGB uint8 (H, W, 3), a new picture.
    """
    if colors is None:
        colors = [PALETTE[i % len(PALETTE)] for i in range(len(bboxes))]
    assert len(bboxes) == len(texts) == len(colors), 'N of each'
    picture = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(picture)
    side = min(picture.size)
    line = max(2, round(side / 150))
    font = load_font(font_size or int(np.clip(side / 30, 12, 26)))
    boxes = [tuple(float(v) * scale for v in box) for box in bboxes]
    # Large boxes first, so that small ones are drawn over them.
    area = [(b[2] - b[0]) * (b[3] - b[1]) for b in boxes]
    order = sorted(range(len(boxes)), key=lambda i: -area[i])
    for i in order:
        x1, y1, x2, y2 = boxes[i]
        # px x1 up to, not including, x2: Pillow's ends are inclusive.
        corners = (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1))
        pen.rectangle(corners, outline=PAPER, width=line + 1)
        pen.rectangle(corners, outline=tuple(colors[i]), width=line)
    taken: List[Box] = []
    told = set()
    pad = max(2, line)
    ascent, descent = font.getmetrics()
    for i in order:
        text = ' '.join(texts[i].split())
        if not text:
            continue
        text = text[: (_ends(text, font) <= picture.width - 2 * pad).sum()]
        width = int(font.getlength(text)) + 2 * pad
        size = (width, ascent + descent + pad)
        tag = _place_tag(boxes[i], size, picture.size, taken)
        # In a crowd one tag of a colour says enough.
        hidden = sum(_overlap(tag, other) for other in taken)
        key = (text, tuple(colors[i]))
        if hidden > 0.5 * size[0] * size[1] and key in told:
            continue
        taken.append(tag)
        told.add(key)
        pen.rounded_rectangle(tag, radius=pad, fill=tuple(colors[i]))
        # Rec. 601 luma: black text on light colours, white on dark ones.
        luma = np.dot(colors[i], (0.299, 0.587, 0.114))
        ink = INK if luma > 160 else PAPER
        pen.text((tag[0] + pad, tag[1] + pad / 2), text, fill=ink, font=font)
    return np.asarray(picture)


def cut_region(
    image: np.ndarray,
    box: Sequence[float],
    side: int,
    context: float = 2.0,
    text: str = '',
    color: Color = WRONG_COLOR,
) -> np.ndarray:
    """Cut a box with its surroundings out of an image, and draw it.

    Args:
        image (np.ndarray): RGB uint8 (H, W, 3).
        box (Sequence[float]): xyxy in px of the image.
        side (int): Longer side of the picture in px.
        context (float): Side of the cut in longer sides of the box. Defaults
            to 2.0.
        text (str): The box's tag. Defaults to none.
        color (tuple[int]): The box's colour.

    Returns:
        np.ndarray: RGB uint8 (h, w, 3), a square where the image allows.
    """
    source, box = Image.fromarray(image), np.asarray(box, dtype=float)
    length = context * max(*(box[2:] - box[:2]), 8)
    # A square around the box, moved so that it is in the image.
    start = (box[:2] + box[2:] - length) / 2
    start = np.minimum(start, np.subtract(source.size, length)).clip(min=0)
    start = start.astype(int)
    stop = np.minimum(np.ceil(start + length), source.size).astype(int)
    cut = source.crop((*start.tolist(), *stop.tolist()))
    picture = ImageOps.contain(cut, (side, side))
    scale = max(picture.size) / max(cut.size)
    place = box - np.tile(start, 2)
    return draw_regions(np.asarray(picture), [place], [text], [color], scale)


def color_phrases(
    labels: Sequence[int], spans: Optional[Sequence] = None
) -> Tuple[Dict[int, Color], List[Tuple[int, int, Color]], List[int]]:
    """Give phrases colours by first use, so that few never share one.

    Args:
        labels (Sequence[int]): The phrase of each box.
        spans (Sequence, optional): The ``[start, end)`` spans of each phrase
            in the caption.

    Returns:
        tuple: Colours by label; ``(start, end, colour)`` of all spans, as of
        :func:`draw_text`; labels whose phrases have none.
    """
    colors = {
        label: PALETTE[i % len(PALETTE)]
        for i, label in enumerate(dict.fromkeys(labels))
    }
    found = {label: (spans and spans[label]) or () for label in colors}
    marked = [
        (start, end, colors[label])
        for label, own in found.items()
        for start, end in own
    ]
    return colors, marked, [label for label, own in found.items() if not own]


def _rows(text: str, ends: np.ndarray, width: float) -> List[range]:
    """Characters of each row, which ends at a line feed, behind a space or,
    if a word is longer than the row, within it."""
    rows: List[range] = []
    start = 0
    while start < len(text):
        line = (text + '\n').index('\n', start)
        begin = ends[start - 1] if start else 0
        fit = int(np.searchsorted(ends, begin + width, side='right'))
        stop = max(fit, start + 1)
        if stop < line:
            stop = text.rfind(' ', start, stop + 1) + 1 or stop
        stop = min(stop, line)
        rows.append(range(start, stop))
        start = stop + (stop == line)
    return rows or [range(0)]


def draw_text(
    text: str,
    width: int,
    font_size: int,
    spans: Sequence[Tuple[int, int, Color]] = (),
    ink: Color = INK,
    bold: bool = False,
) -> np.ndarray:
    """Write a text on white, in several rows where it is too long.

    Args:
        text (str): The text; a line feed begins a new row.
        width (int): Width of the picture in px.
        font_size (int): In px.
        spans (Sequence[tuple]): ``(start, end, colour)`` in characters of
            what is marked; where spans overlap the later one is seen.
            Defaults to none.
        ink (tuple[int]): Colour of the text. Defaults to black.
        bold (bool): Whether it is bold. Defaults to False.

    Returns:
        np.ndarray: RGB uint8 (h, width, 3), as high as the text needs.
    """
    font = load_font(font_size, bold)
    margin, line = font_size // 2, round(1.55 * font_size)
    # Layout libraries choke on tabs, line feeds and the like.
    text = re.sub(r'[^\S\n]', ' ', text)
    ends = _ends(text.replace('\n', ' '), font)
    rows = _rows(text, ends, width - 2 * margin)
    marks: List[Optional[Color]] = [None] * len(text)
    for start, end, color in spans:
        marks[start:end] = [color] * len(marks[start:end])
    size = (width, line * len(rows) + 2 * margin)
    picture = Image.new('RGB', size, PAPER)
    pen = ImageDraw.Draw(picture)
    for n, row in enumerate(rows):
        x, y = margin, margin + line * n
        base = y + sum(font.getmetrics())
        for color, run in groupby(row, marks.__getitem__):
            piece = ''.join(text[i] for i in run)
            end = x + font.getlength(piece.rstrip())
            if color is not None and end > x:
                light = tuple(round(255 - (255 - v) * 0.32) for v in color)
                pen.rectangle((x - 1, y - 1, end, base), fill=light)
                pen.rectangle((x - 1, base, end, base + 2), fill=color)
            pen.text((x, y), piece, ink, font)
            x += font.getlength(piece)
    return np.asarray(picture)
