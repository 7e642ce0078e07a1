"""Pictures of regions with their texts, drawn with Pillow.

Everything works on RGB uint8 arrays and plain lists, so that the functions
serve data sets, predictions and reports alike.
"""

import re
from functools import lru_cache
from typing import List, Optional, Sequence, Tuple

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

__all__ = [
    'PALETTE',
    'RIGHT_COLOR',
    'WRONG_COLOR',
    'draw_caption',
    'draw_regions',
    'enlarge',
    'phrase_colors',
    'stack_horizontally',
    'stack_vertically',
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
INK, PAPER, _FAINT = (33, 37, 41), (255, 255, 255), (134, 142, 150)


def phrase_colors(count: int) -> List[Color]:
    """Colours of phrases: the palette, again from its start after ten.

    Args:
        count (int): Number of phrases.

    Returns:
        list[tuple[int]]: RGB colours.
    """
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


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


def enlarge(image: np.ndarray, shorter_side: int = 480) -> np.ndarray:
    """Enlarge a small picture so that texts fit; large ones stay.

    Args:
        image (np.ndarray): RGB uint8 (H, W, 3).
        shorter_side (int): Least shorter side in px of the result, up to
            rounding to a whole factor.

    Returns:
        np.ndarray: RGB uint8 (k H, k W, 3), k a whole number.
    """
    factor = max(1, round(shorter_side / min(image.shape[:2])))
    if factor == 1:
        return image
    height, width = image.shape[:2]
    picture = Image.fromarray(image)
    return np.asarray(
        picture.resize((width * factor, height * factor), Image.BICUBIC)
    )


def _text_color(background: Color) -> Color:
    # Rec. 601 luma: black text on light colours, white on dark ones.
    red, green, blue = background
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return INK if luma > 160 else PAPER


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


def draw_regions(
    image: np.ndarray,
    bboxes: Sequence[Box],
    texts: Sequence[str],
    colors: Optional[Sequence[Color]] = None,
    scale: Tuple[float, float] = (1.0, 1.0),
    font_size: Optional[int] = None,
) -> np.ndarray:
    """Draw boxes with tags.

    Args:
        image (np.ndarray): RGB uint8 (H, W, 3).
        bboxes (Sequence): N boxes ``(x1, y1, x2, y2)`` in px; an array or
            tensor of shape (N, 4) is fine.
        texts (Sequence[str]): N texts; an empty one has no tag.
        colors (Sequence[tuple[int]], optional): N RGB colours. Defaults to
            those of the palette in order.
        scale (tuple[float]): Factors in x and y from the boxes' px to the
            picture's px.
        font_size (int, optional): In px. Defaults to a size that suits the
            picture.

    Returns:
        np.ndarray: RGB uint8 (H, W, 3), a new picture.

    Raises:
        ValueError: If the numbers of boxes, texts and colours differ.
    """
    if colors is None:
        colors = phrase_colors(len(bboxes))
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
    boxes = [
        tuple(float(v) * scale[i % 2] for i, v in enumerate(box))
        for box in bboxes
    ]
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
        if not texts[i]:
            continue
        width = int(font.getlength(texts[i])) + 2 * pad
        size = (width, ascent + descent + pad)
        tag = _place_tag(boxes[i], size, picture.size, taken)
        # In a crowd one tag of a colour says enough.
        hidden = sum(_overlap(tag, other) for other in taken)
        key = (texts[i], tuple(colors[i]))
        if hidden > 0.5 * size[0] * size[1] and key in told:
            continue
        taken.append(tag)
        told.add(key)
        pen.rounded_rectangle(tag, radius=pad, fill=tuple(colors[i]))
        pen.text(
            (tag[0] + pad, tag[1] + pad / 2),
            texts[i],
            fill=_text_color(colors[i]),
            font=font,
        )
    return np.asarray(picture)


def _runs(
    text: str, spans: Sequence[Tuple[int, int, Color]]
) -> List[Tuple[str, Optional[int]]]:
    """Split a text into words and pieces of one span; spaces stay with the
    piece before them. Each piece carries the number of its span or None."""
    owner: List[Optional[int]] = [None] * len(text)
    for number, (start, end, _) in enumerate(spans):
        owner[start:end] = [number] * (end - start)
    cuts = {0, len(text)}
    cuts.update(match.end() for match in re.finditer(r'\s+', text))
    cuts.update(i for i in range(1, len(text)) if owner[i] != owner[i - 1])
    ends = sorted(cuts)
    return [(text[a:b], owner[a]) for a, b in zip(ends, ends[1:])]


def _lighten(color: Color) -> Color:
    return tuple(round(255 - (255 - value) * 0.32) for value in color)


def draw_caption(
    caption: str,
    width: int,
    spans: Sequence[Tuple[int, int, Color]] = (),
    chips: Sequence[Tuple[str, Color]] = (),
    font_size: Optional[int] = None,
) -> np.ndarray:
    """Draw a caption on white, its spans marked in their colours.

    Args:
        caption (str): Text; broken into lines between words. An empty one is
            replaced by a note.
        width (int): Width of the picture in px.
        spans (Sequence[tuple]): ``(start, end, colour)`` in characters; where
            spans overlap the later one is seen.
        chips (Sequence[tuple]): ``(text, colour)`` of texts that are not part
            of the caption, drawn below it.
        font_size (int, optional): In px. Defaults to a size that suits the
            width.

    Returns:
        np.ndarray: RGB uint8 (h, width, 3), as high as the text needs.
    """
    font = load_font(font_size or int(np.clip(width / 30, 13, 24)))
    ascent, descent = font.getmetrics()
    margin, line_height = ascent // 2, int(1.5 * (ascent + descent))
    # (text, colour or None, x, line, whether its mark goes on to the next)
    pieces: List[tuple] = []
    x, line = margin, 0
    runs = _runs(caption, spans) if caption else [('no caption', None)]
    marks = [None if n is None else spans[n][2] for _, n in runs]
    ink = INK if caption else _FAINT
    for i, (text, number) in enumerate(runs):
        if x + font.getlength(text.rstrip()) > width - margin and x > margin:
            x, line = margin, line + 1
        goes_on = i + 1 < len(runs) and runs[i + 1][1] == number
        pieces.append((text, marks[i], x, line, goes_on))
        x += font.getlength(text)
    for text, color in chips:
        if text is chips[0][0] or x + font.getlength(text) > width - margin:
            x, line = margin, line + 1
        pieces.append((text, color, x, line, False))
        x += font.getlength(text) + 2 * margin
    height = (line + 1) * line_height + margin
    picture = Image.new('RGB', (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    for i, (text, color, x, line, goes_on) in enumerate(pieces):
        if color is None:
            continue
        y = margin + line * line_height
        shown = text if goes_on and pieces[i + 1][3] == line else text.rstrip()
        right = x + font.getlength(shown)
        bottom = y + ascent + descent
        pen.rectangle((x - 1, y - 1, right, bottom), fill=_lighten(color))
        pen.rectangle((x - 1, bottom, right, bottom + 2), fill=color)
    for text, _, x, line, _ in pieces:
        pen.text((x, margin + line * line_height), text, ink, font=font)
    return np.asarray(picture)


def stack_vertically(*pictures: np.ndarray) -> np.ndarray:
    """Put pictures of one width below each other.

    Args:
        *pictures (np.ndarray): RGB uint8 (h_i, W, 3).

    Returns:
        np.ndarray: RGB uint8 (sum of h_i, W, 3).
    """
    return np.concatenate(pictures, axis=0)


def stack_horizontally(*pictures: np.ndarray) -> np.ndarray:
    """Put pictures beside each other, lower ones filled up with white.

    Args:
        *pictures (np.ndarray): RGB uint8 (h_i, w_i, 3).

    Returns:
        np.ndarray: RGB uint8 (max of h_i, sum of w_i, 3).
    """
    height = max(len(picture) for picture in pictures)
    filled = [
        np.pad(
            picture,
            ((0, height - len(picture)), (0, 0), (0, 0)),
            constant_values=255,
        )
        for picture in pictures
    ]
    return np.concatenate(filled, axis=1)
