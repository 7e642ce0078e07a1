"""A line of ODVG under way, and the tally of what became of the source."""

import math
from collections import Counter
from typing import Any, Callable, Dict, Iterator, Optional, Sequence, Tuple

from harmoclip_mm.coco_file import check_fields
from harmoclip_mm.errors import DataError
from harmoclip_mm.text import find_phrase

# How four numbers are a box; 'relative-' ones are shares of the image's sides.
LAYOUTS = (
    'xyxy',
    'xywh',
    'relative-xyxy',
    'relative-xywh',
    'relative-cxcywh',
)


class Tally:
    """What was read, written and dropped, and why.

    Attributes:
        read (Counter): Things of the source.
        written (Counter): Things in the lines.
        dropped (Counter): By reason.
        first (dict): Where each reason came up first.
        where (str): File and line or image that is being read, for messages.
        on_move (Callable): Told which share of a part has been read.
    """

    KEYS = ('read', 'written', 'dropped')

    def __init__(self) -> None:
        self.read, self.written, self.dropped = Counter(), Counter(), Counter()
        self.first: Dict[str, str] = {}
        self.where = ''
        self.on_move: Callable[[float], None] = lambda fraction: None

    def drop(self, why: str, number: int = 1) -> None:
        """Count things that are not written."""
        self.dropped[why] += number
        self.first.setdefault(why, self.where)

    def expect(self, layout: str, records: Iterator[Any]) -> Iterator[Any]:
        """Tell that something is not as in a layout, rather than how that
        broke the code which reads it.

        Raises:
            DataError: Saying where.
        """
        try:
            yield from records
        except DataError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            why = f'{error} is missing' if type(error) is KeyError else error
            raise DataError(
                f'{self.where} is not as in {layout}: {why}'
            ) from error

    def state(self) -> dict:
        """The counts, as JSON."""
        return {key: getattr(self, key) for key in (*self.KEYS, 'first')}

    def add(self, state: dict) -> None:
        """Count what another tally, which came after, has counted."""
        for key in self.KEYS:
            getattr(self, key).update(Counter(state[key]))
        self.first = {**state['first'], **self.first}


class Line:
    """An image with a caption and regions, which is checked as it grows.

    Args:
        tally (Tally): Counts; its ``where`` names the line in messages.
        filename (str): Image file, relative to the folder of images.
        width (int): Of the image in px.
        height (int): Of the image in px.
        caption (str): '' if there is none. Defaults to ''.

    Raises:
        DataError: If the image has no name or no size.
    """

    def __init__(
        self,
        tally: Tally,
        filename: str,
        width: Any,
        height: Any,
        caption: str = '',
    ) -> None:
        sides = dict(width=width, height=height)
        kinds = dict(filename='name', width='size', height='size')
        check_fields(dict(sides, filename=filename), tally.where, **kinds)
        self.tally, self.filename = tally, filename
        self.width, self.height = int(width), int(height)
        # mmdet strips captions after reading, which would shift spans.
        self.caption = caption.strip()
        self._shift = len(caption) - len(caption.lstrip())
        self.regions = []
        tally.read['captions'] += bool(self.caption)

    def add(
        self,
        boxes: Sequence[Sequence[float]],
        phrase: Optional[str] = None,
        span: Optional[Tuple[int, int]] = None,
        score: Optional[float] = None,
        layout: str = 'xyxy',
        negatives: Sequence[str] = (),
    ) -> None:
        """Add a region, unless nothing of it is left.

        Args:
            boxes (Sequence): Its boxes of four numbers; out of the image they
                are clipped, below 1 px dropped.
            phrase (str, optional): Its words. Defaults to those of the span.
            span (tuple[int], optional): Where the caption, as it was given,
                has the phrase. Defaults to the first place where it stands as
                whole words; without one the phrase is a text of its own.
            score (float, optional): How sure the region is, in [0, 1].
            layout (str): One of ``LAYOUTS``. Defaults to 'xyxy'.
            negatives (Sequence[str]): Texts that are almost the phrase.
        """
        tally = self.tally
        tally.read['regions'] += 1
        if span is not None:
            start, end = (int(edge) - self._shift for edge in span)
            start, end = max(start, 0), min(end, len(self.caption))
            if not self.caption[start : max(end, 0)].strip():
                return tally.drop('regions whose span is not in the caption')
            span = [[start, end]]
            phrase = phrase or self.caption[start:end]
        if not isinstance(phrase, str) or not phrase.strip():
            return tally.drop('regions without words')
        phrase = ' '.join(phrase.split())
        if span is None:
            found = find_phrase(phrase, self.caption)
            span = [list(found)] if found else []
        kept = [self.place(box, layout) for box in boxes]
        kept = [box for box in kept if box]
        if kept:
            region = {'bbox': kept[0] if len(kept) == 1 else kept}
            region.update(phrase=phrase, tokens_positive=span)
            if score is not None:
                if isinstance(score, (int, float)) and 0 <= score <= 1:
                    region['score'] = round(score, 4)
                else:
                    tally.drop('scores that are not in 0..1')
            almost = [x for x in negatives if type(x) is str and x.strip()]
            if len(almost) < len(negatives):
                lost = len(negatives) - len(almost)
                tally.drop('hard negatives without words', lost)
            if almost:
                region['negatives'] = almost
                tally.written['hard negatives'] += len(almost)
            self.regions.append(region)
        return None

    def place(self, box: Any, layout: str) -> Optional[list]:
        """The box as xyxy in px inside the image, or None."""
        self.tally.read['boxes'] += 1
        try:
            x, y, u, v = (float(value) for value in box)
        except (TypeError, ValueError):
            return self.tally.drop('boxes that are not four numbers')
        kind = layout.rpartition('-')[2]
        if kind == 'cxcywh':
            x, y, kind = x - u / 2, y - v / 2, 'xywh'
        if kind == 'xywh':
            u, v = x + u, y + v
        if not all(abs(value) < math.inf for value in (x, y, u, v)):
            return self.tally.drop('boxes that are not finite')
        if layout.startswith('relative-'):
            if not all(-0.5 <= value <= 1.5 for value in (x, y, u, v)):
                return self.tally.drop('boxes beyond 0..1, as if in px')
            x, u = x * self.width, u * self.width
            y, v = y * self.height, v * self.height
        elif max(x, y, u, v) <= 1 and min(x, y, u, v) >= 0:
            return self.tally.drop('boxes within 0..1, as if relative')
        sides = (self.width, self.height) * 2
        clipped = [min(max(p, 0), q) for p, q in zip((x, y, u, v), sides)]
        if clipped[2] - clipped[0] < 1 or clipped[3] - clipped[1] < 1:
            return self.tally.drop('boxes outside of the image or below 1 px')
        # Sums in binary add noise to hundredths of a pixel.
        clipped = [round(value, 2) for value in clipped]
        outside = max(abs(p - q) for p, q in zip((x, y, u, v), clipped))
        self.tally.written['boxes clipped'] += outside > 0.01
        self.tally.written['boxes'] += 1
        return clipped

    def grounding(self) -> dict:
        """The line, its phrases being spans of the caption or own texts."""
        linked = sum(bool(r['tokens_positive']) for r in self.regions)
        self.tally.written['regions linked to the caption'] += linked
        own = len(self.regions) - linked
        self.tally.written['regions with a text of their own'] += own
        return self._record(
            grounding={'caption': self.caption, 'regions': self.regions}
        )

    def detection(self) -> dict:
        """The line, its phrases being categories without a caption."""
        self.tally.written['regions of a category'] += len(self.regions)
        names = {'bbox': 'bbox', 'phrase': 'category', 'score': 'score'}
        instances = [
            {new: region[old] for old, new in names.items() if old in region}
            for region in self.regions
        ]
        return self._record(detection={'instances': instances})

    def _record(self, **content: dict) -> dict:
        size = {'height': self.height, 'width': self.width}
        return {'filename': self.filename, **size, **content}
