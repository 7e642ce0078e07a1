"""List of what a model sees in each box, beside the picture."""

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw

from .drawing import INK, PAPER, RIGHT_COLOR, load_font

__all__ = ['RIGHT_SIGN', 'WRONG_SIGN', 'BoxGuess', 'draw_prediction_list']

RIGHT_SIGN, WRONG_SIGN = '\N{CHECK MARK}', '\N{BALLOT X}'
_SOFT, _TRACK = (86, 96, 107), (228, 232, 236)


@dataclass
class BoxGuess:
    """What a box was called.

    Attributes:
        names (Sequence[str]): Classes, best first.
        scores (Sequence[float]): Their probabilities in [0, 1].
        color (Tuple[int]): RGB colour of the box.
        truth (Optional[str]): True class, None if it is not known.
    """

    names: Sequence[str]
    scores: Sequence[float]
    color: Tuple[int, int, int]
    truth: Optional[str] = None

    @property
    def right(self) -> Optional[bool]:
        """Whether the best class is the true one; None if unknown."""
        return None if self.truth is None else self.names[0] == self.truth


def percent(score: float) -> str:
    """A probability as people read it; small ones are not called 0 %.

    Args:
        score (float): In [0, 1].

    Returns:
        str: Such as '62 %'.
    """
    return '< 1 %' if 0 < score < 0.005 else f'{100 * score:.0f} %'


def _shorten(text: str, font, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + '...') > width:
        text = text[:-1]
    return text + '...'


def draw_prediction_list(
    guesses: Sequence[BoxGuess], height: int, font_size: int = 15
) -> np.ndarray:
    """Draw a numbered list of boxes with their classes and probabilities.

    A box whose class is wrong has the true one on its first line. Boxes that
    do not fit below each other go on in further columns.

    Args:
        guesses (Sequence[BoxGuess]): One for each box, in their order.
        height (int): Height of the picture beside it in px.
        font_size (int): In px. Defaults to 15.

    Returns:
        np.ndarray: RGB uint8 (h, w, 3), h = ``height`` unless one box alone
        needs more.
    """
    font, bold = load_font(font_size), load_font(font_size, bold=True)
    line, margin = round(font_size * 1.45), round(font_size * 0.8)
    width = font_size * 19
    columns: List[List[Tuple[int, int]]] = [[]]  # number of the box, its y
    y = margin
    for number, guess in enumerate(guesses):
        tall = line * (1 + len(guess.names)) + margin
        if y + tall > height and columns[-1]:
            columns.append([])
            y = margin
        columns[-1].append((number, y))
        height = max(height, y + tall)
        y += tall
    picture = Image.new('RGB', (width * len(columns), height), PAPER)
    pen = ImageDraw.Draw(picture)
    inner = width - 2 * margin
    for column, entries in enumerate(columns):
        left = column * width + margin
        for number, y in entries:
            guess = guesses[number]
            color = tuple(guess.color)
            side = round(line * 0.8)
            pen.rectangle((left, y + 2, left + 5, y + side), fill=color)
            head = str(number + 1)
            if guess.right:
                head += f'  {RIGHT_SIGN} {guess.truth}'
            elif guess.right is not None:
                head += f'  {WRONG_SIGN} is {guess.truth}'
            head = _shorten(head, bold, inner - 14)
            ink = INK if guess.right is None else color
            pen.text((left + 14, y), head, fill=ink, font=bold)
            for i, (name, score) in enumerate(
                zip(guess.names, guess.scores), start=1
            ):
                top = y + i * line
                score = float(score)
                number_width = font.getlength('< 1 %')
                room = inner - 14 - number_width - 8
                pen.rectangle(
                    (
                        left + 14,
                        top + line - 4,
                        left + 14 + room,
                        top + line - 3,
                    ),
                    fill=_TRACK,
                )
                pen.rectangle(
                    (
                        *(left + 14, top + line - 4),
                        *(left + 14 + room * score, top + line - 3),
                    ),
                    fill=color,
                )
                hit = guess.truth == name
                pen.text(
                    (left + 14, top),
                    _shorten(name, bold if hit else font, room),
                    fill=RIGHT_COLOR if hit else INK,
                    font=bold if hit else font,
                )
                text = percent(score)
                x = left + inner - font.getlength(text)
                pen.text((x, top), text, fill=_SOFT, font=font)
    return np.asarray(picture)
