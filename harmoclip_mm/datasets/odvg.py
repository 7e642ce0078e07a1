"""ODVG, the region-phrase format of MM-Grounding-DINO.

One JSON object a line: ``filename``, ``height``, ``width`` and either
``grounding`` (a caption whose phrases are linked to boxes) or ``detection``
(boxes with a category name). The format's home is mmdet's ``ODVGDataset`` and
its converters ``coco2odvg``, ``goldg2odvg``, ``refcoco2odvg``. Beyond it, a
region may have a ``score``, the confidence of its link in [0, 1], as GRIT's
links have, and ``negatives``, texts that are almost its phrase, as FineHARD
has them; mmdet passes over both.

A training opens a file by an index that was made once, and parses a line when
a sample needs it. So a million lines open at once, and no process holds them.
"""

import io
import json
import math
import os
import os.path as osp
import struct
from array import array
from collections import Counter
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from rich import progress

from harmoclip_mm.coco_file import check_fields
from harmoclip_mm.errors import DataError
from harmoclip_mm.text import find_phrase

from .indexed_files import CONSOLE, IndexedFiles, hash_name, state_of

Spans = Tuple[Tuple[int, int], ...]  # none: a text of its own
# Phrase, spans, boxes as they are given, and the region with what else it has.
Region = Tuple[str, Spans, list, dict]
_ROW = struct.Struct('<q7I')


class OdvgFile(IndexedFiles):
    """An ODVG file whose lines are read and parsed when asked for.

    Args:
        path (str): The jsonl file.
        backend_args (dict, optional): File backend of ``path``, see
            :class:`IndexedFiles`.

    Attributes:
        rows (np.ndarray): A row of ``dtype`` for each line that is not blank.

    Raises:
        DataError: For a bad line, naming file and line.
    """

    dtype = np.dtype(
        [
            ('start', '<i8'),  # byte in the file
            ('size', '<u4'),  # bytes
            ('line', '<u4'),  # number of the line, from 1
            ('image', '<u4'),  # images are counted by first appearance
            ('short_side', '<u4'),  # px
            ('boxes', '<u4'),  # boxes that are left after clipping
            ('clipped', '<u4'),  # those of them that were clipped
            ('dropped', '<u4'),  # boxes of which nothing was left
        ]
    )
    what = 'lines'

    def __init__(self, path: str, backend_args: Optional[dict] = None) -> None:
        super().__init__(path, [path], backend_args)
        self._backend_args = backend_args
        # Stays open: a file that takes its place meanwhile is another one.
        self._file = open(self.paths[0], 'rb')  # noqa: SIM115
        self._compare([state_of(self._file.fileno())])  # since it was indexed

    def read(self, row: int) -> dict:
        """Read one line.

        Args:
            row (int): Which of the lines that are not blank.

        Raises:
            DataError: If the file was changed after it was opened, so that
                the line is none any more.
        """
        start, size, number = self.rows[row].tolist()[:3]
        # Unlike seek and read, safe where processes share the file.
        line = os.pread(self._file.fileno(), size, start)
        return parse_odvg_line(line, f'{self.name}:{number}', Counter())

    def __getstate__(self) -> dict:
        return {'args': (self.name, self._backend_args), 'state': self.state}

    def __setstate__(self, kept: dict) -> None:
        self.__init__(*kept['args'])
        self._compare(kept['state'])

    def _compare(self, state: List[list]) -> None:
        if self.state != state:
            raise RuntimeError(
                f'{self.name} was changed while it was in use; start again'
            )

    def _build(self) -> np.ndarray:
        """Read every line once, check it and note where it lies."""
        name = self.name
        rows, hashes, start = bytearray(), array('Q'), 0
        with progress.open(
            self.paths[0],
            'rb',
            description=f'Indexing {osp.basename(name)}',
            console=CONSOLE,
            disable=self._quiet,
        ) as file:
            for number, line in enumerate(io.BufferedReader(file), 1):
                if line.strip():
                    tally: Counter = Counter()
                    sample = parse_odvg_line(line, f'{name}:{number}', tally)
                    hashes.append(hash_name(sample['filename']))
                    side = min(sample['height'], sample['width'])
                    boxes = len(sample['instances'])
                    place = start, len(line), number, 0, side, boxes
                    rows += _ROW.pack(
                        *place, tally['clipped'], tally['dropped']
                    )
                start += len(line)
        index = np.frombuffer(rows, dtype=self.dtype)
        _, first, image = np.unique(
            np.asarray(hashes), return_index=True, return_inverse=True
        )
        index['image'] = np.argsort(np.argsort(first))[image]
        return index


def parse_odvg_line(line: bytes, where: str, tally: Counter) -> dict:
    """Read one line and check all of it.

    Args:
        line (bytes): The line, not blank.
        where (str): ``file:line``, for messages.
        tally (Counter): Counts the boxes ``clipped`` and ``dropped``.

    Returns:
        dict: ``filename``, ``height`` and ``width`` (px), ``image_id`` (None
        where the line has none), and ``text``, ``phrases``, ``instances`` and
        ``gt_scores`` as :class:`RegionPhraseDataset` gives them.

    Raises:
        DataError: For a line that is not so, naming file and line.
    """
    try:
        record = json.loads(line)
        if b'\\u' in line:  # json takes half of a pair, tokenizers do not
            json.dumps(record, ensure_ascii=False).encode()
        return _parse(record, tally)
    except json.JSONDecodeError as error:
        raise DataError(
            f'{where}: not valid JSON ({error}). Each line must be one JSON '
            'object; correct or delete this line'
        ) from error
    except (ValueError, RecursionError) as error:  # or bytes not of UTF-8
        raise DataError(f'{where}: {error}') from error


def _parse(record: Any, tally: Counter) -> dict:
    kinds = dict(filename='name', height='size', width='size')
    check_fields(record, 'the line', **kinds)
    image_id = record.get('image_id')
    if image_id is not None:
        check_fields(record, 'the line', image_id='id')
    size = width, height = int(record['width']), int(record['height'])
    caption, regions = _read_regions(record)
    texts: Dict[Tuple[str, Spans], int] = {}  # regions of one text share it
    instances, scores, negatives = [], [], {}
    for phrase, spans, boxes, region in regions:
        known = negatives.setdefault((phrase, spans), [])
        almost = region.get('negatives', ())
        known += [text for text in almost if text not in known]
        for box in boxes:
            bbox = _clip_box(box, size, tally)
            if bbox is not None:
                label = texts.setdefault((phrase, spans), len(texts))
                instances.append(
                    {'bbox': bbox, 'bbox_label': label, 'ignore_flag': 0}
                )
                scores.append(region.get('score', 1))
    almost = [negatives[text] for text in texts]
    if caption is None:
        caption, texts = _compose_caption([phrase for phrase, _ in texts])
    return {
        'filename': record['filename'],
        'height': height,
        'width': width,
        'image_id': image_id,
        'text': caption,
        'phrases': {
            label: {
                'phrase': phrase,
                'tokens_positive': [list(span) for span in spans],
                **({'negatives': almost[label]} if almost[label] else {}),
            }
            for label, (phrase, spans) in enumerate(texts)
        },
        'instances': instances,
        **({'gt_scores': np.float32(scores)} if set(scores) - {1} else {}),
    }


def _read_regions(record: dict) -> Tuple[Optional[str], List[Region]]:
    """The caption, None of a detection line, and the regions."""
    beside = dict(bbox='any', score='share?', negatives='names?')
    if 'grounding' in record:
        content = record['grounding']
        check_fields(content, "'grounding'", caption='text', regions='list')
        for region in content['regions']:
            check_fields(region, 'a region', **beside)
        caption = content['caption']
        return caption, [_region(each, caption) for each in content['regions']]
    if 'detection' not in record:
        raise ValueError(
            "the line lacks 'grounding' or 'detection'; an image without "
            "regions needs {'grounding': {'caption': ..., 'regions': []}}"
        )
    content, regions = record['detection'], []
    check_fields(content, "'detection'", instances='list')
    for each in content['instances']:
        check_fields(each, 'an instance', category='any', **beside)
        regions.append((_words(each['category']), (), [each['bbox']], each))
    return None, regions


def _region(region: dict, caption: str) -> Region:
    """Without ``tokens_positive`` the phrase is looked up in the caption; an
    empty list says that it is a text of its own."""
    boxes = region['bbox']
    if type(boxes) is not list or (boxes and type(boxes[0]) is not list):
        boxes = [boxes]
    given, phrase = region.get('tokens_positive'), region.get('phrase')
    spans = () if given is None else _check_spans(given, caption)
    if phrase is None and spans:
        phrase = [caption[start:end] for start, end in spans]
    phrase = _words(phrase)
    if given is None:
        found = find_phrase(phrase, caption)
        spans = (found,) if found else ()
    return phrase, spans, boxes, region


def _check_spans(spans: Any, caption: str) -> Spans:
    """Sorted spans; one may come without its list."""
    if type(spans) is not list or (spans and type(spans[0]) is int):
        spans = [spans]
    for span in spans:
        if (
            type(span) is not list
            or [type(end) for end in span] != [int, int]
            or not 0 <= span[0] < span[1] <= len(caption)
        ):
            raise ValueError(
                f'the span {span!r:.80} lies outside its caption of '
                f'{len(caption)} characters, {caption!r}. A span is [start, '
                'end), counted in characters'
            )
    return tuple(sorted(map(tuple, spans)))


def _words(phrase: Any) -> str:
    """A phrase; in pieces, as ``goldg2odvg`` writes it, it is joined."""
    pieces = phrase if type(phrase) is list else [phrase]
    if all(type(piece) is str for piece in pieces) and ''.join(pieces).strip():
        return ' '.join(pieces)
    raise ValueError(
        "a region needs a 'phrase' or 'tokens_positive' that names it, an "
        f"instance a 'category'; it is {phrase!r:.80}"
    )


def _compose_caption(
    names: Sequence[str],
) -> Tuple[str, List[Tuple[str, Spans]]]:
    """Name categories in one sentence, ``a photo of cat, dog and person``."""
    caption, texts = '', []
    for i, name in enumerate(names):
        between = ' and ' if i == len(names) - 1 else ', '
        caption += between if i else 'a photo of '
        texts.append((name, ((len(caption), len(caption) + len(name)),)))
        caption += name
    return caption, texts


def _clip_box(
    bbox: Any, size: Tuple[int, int], tally: Counter
) -> Optional[List[float]]:
    """The box inside an image of width and height ``size``, or None if it is
    not finite or less than 1 px wide or high there, as in mmdet."""
    if type(bbox) is not list or not (
        len(bbox) == 4 and all(type(value) in (int, float) for value in bbox)
    ):
        raise ValueError(
            f'a box must be four numbers [x1, y1, x2, y2], not {bbox!r:.80}'
        )
    if all(abs(value) < math.inf for value in bbox):
        pairs = zip(bbox, (*size, *size))
        clipped = [float(min(max(value, 0), side)) for value, side in pairs]
        if clipped[2] - clipped[0] >= 1 and clipped[3] - clipped[1] >= 1:
            tally['clipped'] += clipped != bbox
            return clipped
    tally['dropped'] += 1
    return None
