"""Reading of ODVG lines, the region-phrase format of MM-Grounding-DINO.

One JSON object a line: ``filename``, ``height``, ``width`` and either
``grounding`` (a caption whose phrases are linked to boxes) or ``detection``
(boxes with a category name). The format's home is mmdet's ``ODVGDataset`` and
its converters ``coco2odvg``, ``goldg2odvg``, ``refcoco2odvg``.
"""

import json
import math
import re
from collections import Counter
from typing import Any, Dict, List, Optional, Sequence, Tuple

__all__ = ['RegionText', 'clean_box', 'parse_odvg_record', 'read_odvg_line']

# Caption, phrases, token spans and instances of one line; see RegionPhraseData
RegionText = Dict[str, Any]
Spans = Optional[List[List[int]]]


def read_odvg_line(line: bytes, where: str) -> dict:
    """Read one line of an ODVG file.

    Args:
        line (bytes): The line, not blank.
        where (str): ``file:line``, for messages.

    Returns:
        dict: The record, unchecked; see :func:`parse_odvg_record`.

    Raises:
        ValueError: If the line is not a JSON object in UTF-8.
    """
    try:
        record = json.loads(line)
    except ValueError as error:  # also of bytes that are not UTF-8
        raise ValueError(
            f'{where}: not valid JSON ({error}). Each line must be one JSON '
            'object; correct or delete this line'
        ) from error
    if not isinstance(record, dict):
        raise ValueError(
            f'{where}: a JSON object is expected, but the line holds a '
            f'{type(record).__name__}'
        )
    return record


def parse_odvg_record(record: dict, where: str, tally: Counter) -> RegionText:
    """Turn the annotations of one ODVG line into regions with texts.

    Args:
        record (dict): The parsed line.
        where (str): ``file:line``, for messages.
        tally (Counter): Is told ``boxes``, ``clipped`` and ``dropped`` boxes.

    Returns:
        dict: ``caption`` (str, '' where there is none), ``phrases``
        (list[str]), ``tokens_positive`` (for each phrase a list of character
        spans in the caption, or None) and ``instances`` (list of dicts with
        ``bbox``, ``bbox_label`` = index into phrases, ``ignore_flag``).

    Raises:
        ValueError: If keys are missing, or a span is outside its caption.
    """
    size = _image_size(record, where)
    if 'grounding' in record:
        return _parse_grounding(record['grounding'], size, where, tally)
    if 'detection' in record:
        return _parse_detection(record['detection'], size, where, tally)
    raise ValueError(
        f"{where}: the line lacks 'grounding' or 'detection'; an image "
        "without regions needs {'grounding': {'caption': ..., 'regions': []}}"
    )


def clean_box(
    bbox: Any, size: Tuple[int, int], where: str, tally: Counter
) -> Optional[List[float]]:
    """Clip a box to its image.

    Args:
        bbox (Sequence[float]): ``(x1, y1, x2, y2)`` in px.
        size (tuple[int]): Width and height of the image in px.
        where (str): ``file:line``, for messages.
        tally (Counter): ``boxes``, ``clipped`` and ``dropped`` are counted.

    Returns:
        list[float] or None: The clipped box, or None if it is not finite or
        less than 1 px wide or high inside the image, as in mmdet.

    Raises:
        ValueError: If it is not four numbers.
    """
    if (
        not isinstance(bbox, (list, tuple))
        or len(bbox) != 4
        or not all(isinstance(value, (int, float)) for value in bbox)
    ):
        raise ValueError(
            f'{where}: a box must be four numbers [x1, y1, x2, y2], not '
            f'{bbox!r}'
        )
    tally['boxes'] += 1
    width, height = size
    if all(map(math.isfinite, bbox)):
        x1, x2 = (min(max(float(x), 0.0), width) for x in bbox[0::2])
        y1, y2 = (min(max(float(y), 0.0), height) for y in bbox[1::2])
        if x2 - x1 >= 1 and y2 - y1 >= 1:
            clipped = [x1, y1, x2, y2]
            tally['clipped'] += clipped != list(bbox)
            return clipped
    tally['dropped'] += 1
    return None


def _require(mapping: Any, keys: Sequence[str], where: str, what: str) -> None:
    if not isinstance(mapping, dict):
        raise ValueError(f'{where}: {what} must be a JSON object')
    missing = [key for key in keys if key not in mapping]
    if missing:
        raise ValueError(
            f'{where}: {what} lacks {missing}; it has {sorted(mapping)}. See '
            'the ODVG format in the documentation of mmdet'
        )


def _image_size(record: dict, where: str) -> Tuple[int, int]:
    _require(record, ('filename', 'height', 'width'), where, 'the line')
    size = (record['width'], record['height'])
    for value in size:
        if not isinstance(value, int) or value < 1:
            raise ValueError(
                f'{where}: width and height must be positive integers, not '
                f'{size}'
            )
    return size


class _Builder:
    """Collects regions; regions of one text share an entry of ``phrases``."""

    def __init__(self, caption: str) -> None:
        self.caption = caption
        self.phrases: List[str] = []
        self.tokens_positive: List[Spans] = []
        self.instances: List[dict] = []
        self._indices: Dict[tuple, int] = {}

    def add(self, phrase: str, spans: Spans, boxes: List[List[float]]) -> None:
        key = (phrase, None if spans is None else tuple(map(tuple, spans)))
        if key not in self._indices:
            self._indices[key] = len(self.phrases)
            self.phrases.append(phrase)
            self.tokens_positive.append(spans)
        for bbox in boxes:
            self.instances.append(
                {
                    'bbox': bbox,
                    'bbox_label': self._indices[key],
                    'ignore_flag': 0,
                }
            )

    def result(self) -> RegionText:
        return {
            'caption': self.caption,
            'phrases': self.phrases,
            'tokens_positive': self.tokens_positive,
            'instances': self.instances,
        }


def _parse_grounding(
    grounding: Any, size: Tuple[int, int], where: str, tally: Counter
) -> RegionText:
    _require(grounding, ('caption', 'regions'), where, "'grounding'")
    caption = grounding['caption']
    if not isinstance(caption, str):
        raise ValueError(f'{where}: the caption must be a string')
    builder = _Builder(caption)
    for region in grounding['regions']:
        _require(region, ('bbox',), where, 'a region')
        boxes = region['bbox']
        if boxes and not isinstance(boxes[0], (list, tuple)):
            boxes = [boxes]
        boxes = [clean_box(box, size, where, tally) for box in boxes]
        spans = _spans(region.get('tokens_positive'), caption, where)
        phrase = _phrase(region.get('phrase'), spans, caption, where)
        if spans is None:
            spans = _find_phrase(phrase, caption)
        boxes = [box for box in boxes if box is not None]
        if boxes:
            builder.add(phrase, spans, boxes)
    return builder.result()


def _spans(spans: Any, caption: str, where: str) -> Spans:
    """Sorted spans after a check; one span may come without its list."""
    if not spans:
        return None
    if isinstance(spans[0], int):
        spans = [spans]
    checked = []
    for span in spans:
        if (
            not isinstance(span, (list, tuple))
            or len(span) != 2
            or not all(isinstance(end, int) for end in span)
            or not 0 <= span[0] < span[1] <= len(caption)
        ):
            raise ValueError(
                f'{where}: the span {span!r} lies outside its caption of '
                f'{len(caption)} characters, {caption!r}. A span is [start, '
                'end), counted in characters'
            )
        checked.append([int(span[0]), int(span[1])])
    return sorted(checked)


def _phrase(phrase: Any, spans: Spans, caption: str, where: str) -> str:
    """The words of a region; a phrase in pieces (as ``goldg2odvg`` writes it)
    is joined, a missing one is read from the caption."""
    if phrase is None and spans is not None:
        phrase = [caption[start:end] for start, end in spans]
    if isinstance(phrase, (list, tuple)):
        phrase = ' '.join(map(str, phrase))
    if not isinstance(phrase, str) or not phrase.strip():
        raise ValueError(
            f"{where}: a region needs a 'phrase' or 'tokens_positive' that "
            f'names it; the phrase is {phrase!r}'
        )
    return phrase


def _find_phrase(phrase: str, caption: str) -> Spans:
    """The first place where the phrase stands in the caption as whole words,
    whatever its case; None if it does not."""
    pattern = rf'(?<!\w){re.escape(phrase)}(?!\w)'
    match = re.search(pattern, caption, re.IGNORECASE)
    return None if match is None else [[match.start(), match.end()]]


def _parse_detection(
    detection: Any, size: Tuple[int, int], where: str, tally: Counter
) -> RegionText:
    """The caption lists the categories: ``a photo of cat, dog and person``."""
    _require(detection, ('instances',), where, "'detection'")
    boxes_of: Dict[str, List[List[float]]] = {}
    for instance in detection['instances']:
        _require(instance, ('bbox', 'category'), where, 'an instance')
        box = clean_box(instance['bbox'], size, where, tally)
        name = _phrase(instance['category'], None, '', where)
        if box is not None:
            boxes_of.setdefault(name, []).append(box)
    caption, spans = compose_caption(list(boxes_of))
    builder = _Builder(caption)
    for (name, boxes), span in zip(boxes_of.items(), spans):
        builder.add(name, [span], boxes)
    return builder.result()


def compose_caption(names: Sequence[str]) -> Tuple[str, List[List[int]]]:
    """Name categories in one sentence.

    Args:
        names (Sequence[str]): Category names, each once.

    Returns:
        tuple[str, list]: The caption, '' for no names, and the span of each
        name.

    Examples:
        >>> compose_caption(['cat', 'dog', 'person'])
        ('a photo of cat, dog and person', [[11, 14], [16, 19], [24, 30]])
    """
    caption, spans = '', []
    for i, name in enumerate(names):
        if i == 0:
            caption = 'a photo of '
        else:
            caption += ' and ' if i == len(names) - 1 else ', '
        spans.append([len(caption), len(caption) + len(name)])
        caption += name
    return caption, spans
