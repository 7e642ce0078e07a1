r"""Flickr30k Entities: captions whose noun phrases have boxes.

SOURCE is a folder with Sentences/ID.txt, Annotations/ID.xml and the lists
train.txt, val.txt and test.txt, which --split chooses from. A line for each
sentence; phrases of one entity have all its boxes. Entities without a box
("nobox", "scene", id 0) stay words of the caption. Boxes count px from 1, both
ends included: xmin .. xmax is [xmin - 1, xmax) here.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from harmoclip_mm.errors import DataError

from .lines import Line, Tally
from .reading import read_lines, require

_PHRASE = re.compile(r'\[/EN#(\d+)(?:/\S*)? ([^\]]*)\]')

ARGUMENTS = {
    '--split': dict(help='train, val or test: SOURCE/SPLIT.txt (default: all)')
}


def list_parts(args) -> List[Path]:
    """The folder."""
    for name in ('Sentences', 'Annotations'):
        require(args.source / name, 'SOURCE should be a folder that has it')
    if args.split:
        require(args.source / f'{args.split}.txt', 'it lists the split')
    return [args.source]


def read(part: Path, args, tally: Tally) -> Iterator[dict]:
    """A line for each sentence."""
    if args.split:
        ids = [text for _, text in read_lines(part / f'{args.split}.txt')]
    else:
        ids = sorted(file.stem for file in (part / 'Sentences').glob('*.txt'))
    for index, each in enumerate(ids):
        tally.on_move(index / len(ids))
        sentences = part / 'Sentences' / f'{each}.txt'
        annotations = part / 'Annotations' / f'{each}.xml'
        tally.where = str(sentences)
        if not (sentences.exists() and annotations.exists()):
            tally.drop('images without sentences or annotations')
            continue
        tally.where = str(annotations)
        name, size, boxes, why = _read_boxes(annotations)
        for number, text in read_lines(sentences):
            tally.where = f'{sentences}:{number}'
            caption, phrases = _split(text)
            if '[/EN#' in caption:
                raise DataError(f'{tally.where}: a bracket is left open')
            line = Line(tally, name, *size, caption)
            for entity, span in phrases:
                if boxes[entity]:
                    line.add(boxes[entity], span=span)
                else:
                    tally.drop(f'phrases {why.get(entity, "without a box")}')
            yield line.grounding()


def _split(text: str) -> Tuple[str, List[Tuple[str, Tuple[int, int]]]]:
    """A sentence without its brackets, and entities with their spans."""
    caption, phrases, at = '', [], 0
    for match in _PHRASE.finditer(text):
        caption += text[at : match.start()]
        entity, words = match.groups()
        phrases.append((entity, (len(caption), len(caption) + len(words))))
        caption += words
        at = match.end()
    return caption + text[at:], phrases


def _read_boxes(file: Path) -> Tuple[str, tuple, Dict[str, list], dict]:
    """File name, size, boxes of each entity and why some have none."""
    boxes, why = defaultdict(list), {'0': 'that are not visible'}
    try:
        root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise DataError(f'{file}: not XML ({error})') from error
    size = [int(root.findtext(f'size/{key}')) for key in ('width', 'height')]
    for item in root.iter('object'):
        entities = [name.text.strip() for name in item.iter('name')]
        if item.find('bndbox') is None:
            scene = (item.findtext('scene') or '0').strip() == '1'
            reason = 'of the scene' if scene else 'without a box'
            why.update(dict.fromkeys(entities, reason))
            continue
        x1, y1, x2, y2 = (
            int(item.findtext(f'bndbox/{side}'))
            for side in ('xmin', 'ymin', 'xmax', 'ymax')
        )
        for entity in entities:
            boxes[entity].append([x1 - 1, y1 - 1, x2, y2])
    name = (root.findtext('filename') or f'{file.stem}.jpg').strip()
    return name, tuple(size), boxes, why
