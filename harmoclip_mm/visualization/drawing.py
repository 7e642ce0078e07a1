"""Boxes with tags, and texts with marked spans, drawn by Pillow.

mmengine's visualizer writes by matplotlib, which puts tags on top of each
other, breaks no lines and reads `$` as the begin of a formula. Everything here
works on RGB uint8 arrays and plain lists, so that it serves data sets,
predictions and reports alike.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import List, Optional, Sequence, Tuple

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

__all__ = [
    'PALETTE',
    'RIGHT_COLOR',
    'WRONG_COLOR',
    'Paragraph',
    'draw_regions',
    'draw_text',
]

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
_TRACK = (228, 232, 236)


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


def _fit(text: str, font: ImageFont.FreeTypeFont, width: float) -> int:
    """Number of characters that fit, at least 1."""
    count = len(text)
    length = font.getlength(text)
    while length > width and count > 1:
        count = max(1, min(count - 1, round(count * width / length)))
        length = font.getlength(text[:count])
    return count


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

    Raises:
        ValueError: If the numbers of boxes, texts and colours differ.
    """
    if colors is None:
        colors = [PALETTE[i % len(PALETTE)] for i in range(len(bboxes))]
    if not len(bboxes) == len(texts) == len(colors):
        raise ValueError(
            f'{len(bboxes)} boxes, {len(texts)} texts and {len(colors)} '
            'colours: one text and one colour are needed for each box'
        )
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
        text = text[: _fit(text, font, picture.width - 2 * pad)]
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


@dataclass
class Paragraph:
    """A text that is broken into rows where it is too long.

    Attributes:
        text (str): The text; a line feed begins a new row.
        spans (Sequence[tuple]): ``(start, end, colour)`` in characters of
            what is marked; where spans overlap the later one is seen.
        ink (tuple[int]): Colour of the text.
        bold (bool): Whether it is bold.
        right (str): What stands at the right end of the last row.
        share (float, optional): Length of a bar below, in [0, 1].
        bar (tuple[int]): Colour of the bar.
    """

    text: str
    spans: Sequence[Tuple[int, int, Color]] = ()
    ink: Color = INK
    bold: bool = False
    right: str = ''
    share: Optional[float] = None
    bar: Color = INK


def _rows(
    paragraph: Paragraph, font: ImageFont.FreeTypeFont, width: float
) -> List[List[tuple]]:
    """Rows of ``(x, text, colour of its mark or None)``: words with the space
    behind them, cut where a mark begins or ends."""
    text = paragraph.text
    marks: List[Optional[Color]] = [None] * len(text)
    for start, end, color in paragraph.spans:
        marks[start:end] = [color] * len(marks[start:end])
    cuts = {0, len(text)}
    cuts.update(match.end() for match in re.finditer(r'\n|[^\S\n]+', text))
    cuts.update(i for i in range(1, len(text)) if marks[i] != marks[i - 1])
    ends = sorted(cuts)
    rows: List[List[tuple]] = [[]]
    x = 0.0
    for start, end in zip(ends, ends[1:]):
        # Layout libraries choke on line feeds and the like.
        piece = re.sub(r'\s', ' ', text[start:end])
        if x and x + font.getlength(piece.rstrip()) > width:
            rows.append([])
            x = 0.0
        while font.getlength(piece.rstrip()) > width and len(piece) > 1:
            length = _fit(piece, font, width)  # a word longer than a row
            rows[-1].append((x, piece[:length], marks[start]))
            rows.append([])
            piece = piece[length:]
        rows[-1].append((x, piece, marks[start]))
        x += font.getlength(piece)
        if text[end - 1] == '\n':
            rows.append([])
            x = 0.0
    return rows if rows[-1] or len(rows) == 1 else rows[:-1]


def draw_text(
    paragraphs: Sequence[Paragraph], width: int, font_size: int
) -> np.ndarray:
    """Draw paragraphs on white.

    Args:
        paragraphs (Sequence[Paragraph]): What to write.
        width (int): Width of the picture in px.
        font_size (int): In px.

    Returns:
        np.ndarray: RGB uint8 (h, width, 3), as high as the text needs.
    """
    ascent, descent = load_font(font_size).getmetrics()
    margin, line = font_size // 2, round(1.55 * font_size)
    room = width - 2 * margin
    laid = []
    for each in paragraphs:
        font = load_font(font_size, each.bold)
        taken = load_font(font_size).getlength(each.right + ' ')
        laid.append((each, font, _rows(each, font, room - taken)))
    height = line * sum(len(rows) for *_, rows in laid) + 2 * margin
    picture = Image.new('RGB', (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    y = margin
    for each, font, rows in laid:
        for row in rows:
            for i, (x, text, color) in enumerate(row):
                x += margin
                # A mark goes on over the space before its next word.
                goes_on = row[i + 1 : i + 2] and row[i + 1][2] == color
                shown = text if goes_on else text.rstrip()
                end, base = x + font.getlength(shown), y + ascent + descent
                if color is not None and shown:
                    light = tuple(round(255 - (255 - v) * 0.32) for v in color)
                    pen.rectangle((x - 1, y - 1, end, base), fill=light)
                    pen.rectangle((x - 1, base, end, base + 2), fill=color)
                pen.text((x, y), text, each.ink, font)
            y += line
        if each.right:
            end = (width - margin, y - line)
            pen.text(end, each.right, SOFT, load_font(font_size), anchor='ra')
        if each.share is not None:
            for share, color in ((1, _TRACK), (each.share, each.bar)):
                end = margin + room * float(share)
                pen.rectangle((margin, y - 4, end, y - 3), fill=color)
    return np.asarray(picture)
