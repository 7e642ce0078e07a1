"""COCO captions, linked to the boxes of the categories that they name.

SOURCE is a COCO instances JSON; --captions names the captions of the same
images. Noun phrases of a caption that name a category, by its name, a synonym
or a plural, are linked to boxes of that category in the image: a plural to
all, a singular to the largest. A link that is less than certain has a score. A
line for each caption, in the order of image ids and caption ids.
"""

from collections import defaultdict
from pathlib import Path
from typing import Dict, Iterator, List

from harmoclip_mm.errors import DataError
from harmoclip_mm.text import (
    PhraseFinder,
    class_to_prompt,
    link_caption,
    normalise_phrase,
)
from harmoclip_mm.text.phrase_finder import UNSPACED
from harmoclip_mm.text.phrase_linking import SINGULARS

from .coco import CocoFile, read_captions, sort_key
from .lines import Line, Tally
from .reading import require

ARGUMENTS = {
    '--captions': dict(type=Path, required=True, help='COCO captions JSON'),
    '--words': dict(
        type=Path,
        help='JSON with synonyms of your own categories, in the form of '
        "harmoclip_mm/text/data/coco_phrases.json (default: COCO's for its "
        'categories, else their names and regular plurals)',
    ),
    '--singular': dict(
        choices=SINGULARS,
        default='largest',
        help='what a singular noun is linked to where its category has '
        'several boxes: the largest, with a score by how much larger it is '
        'than the next; all of n, each with a score of 1 / n; or only a box '
        'that is alone (default: %(default)s)',
    ),
    '--name-unlinked-boxes': dict(
        action='store_true',
        help='also write the boxes that a caption does not name, the '
        'category name being a phrase of its own: every box trains, though '
        'only linked ones have a span in the caption',
    ),
}


def list_parts(args) -> List[Path]:
    """The instances."""
    require(args.captions, 'it should be a COCO captions JSON')
    if args.words:
        require(args.words, 'it should be a JSON of synonyms')
    return [require(args.source, 'it should be a JSON in COCO format')]


def name_categories(file: CocoFile) -> List[str]:
    """Names of the categories, without the roots of a hierarchy: what is
    another one's supercategory and has no boxes, as Roboflow writes it."""
    return [
        name
        for id_, name in file.names.items()
        if id_ in file.labels or name not in file.roots
    ]


def _fill(line: Line, boxes: Dict[str, list], finder, args) -> set:
    """Link the phrases of a line; category and index of each box of them."""
    text, tally = line.caption, line.tally
    linked = link_caption(text, boxes, finder, args.singular)
    line.regions = linked.regions
    tally.written['lines with linked spans'] += bool(linked.linked)
    tally.written['spans linked to boxes'] += len(linked.linked)
    for region in linked.regions:
        tally.written['regions with a score below 1'] += 'score' in region
    if linked.unlinked:
        tally.drop('spans without a box', len(linked.unlinked))
    elif not linked.linked and UNSPACED.search(text):
        tally.read['captions without spaces that name no category'] += 1
    return set(linked.boxes)


def _add_unlinked(line: Line, boxes: Dict[str, list], linked: set) -> None:
    """Boxes that a caption does not name, as texts of their own."""
    for name, found in boxes.items():
        rest = [box for i, box in enumerate(found) if (name, i) not in linked]
        if rest:
            words = class_to_prompt(name)
            region = {'bbox': rest, 'phrase': words, 'tokens_positive': []}
            line.regions.append(region)


def read(part: Path, args, tally: Tally) -> Iterator[dict]:
    """A line for each caption."""
    file, distinct = CocoFile(part, tally), set()
    if args.words:
        finder = PhraseFinder.from_file(args.words)
    else:
        finder = PhraseFinder.from_categories(name_categories(file))
    _, captions = read_captions(args.captions)
    for id_ in set(captions) - set(file.images):
        raise DataError(
            f'{args.captions}: caption {captions[id_][0][0]} is of image '
            f'{id_!r}, which {part} does not list; use the captions and '
            'instances of the same split'
        )
    order = sorted(file.images, key=sort_key)
    for id_, image, found in file.lines(order):
        where = tally.where
        boxes = defaultdict(list)
        for name, box in found:
            placed = image.place(box, 'xywh')
            if placed:
                boxes[name].append(placed)
        linked, lines = set(), []
        for caption_id, caption in captions.get(id_, ()):
            tally.where = f'{args.captions}: caption {caption_id}'
            line = Line(tally, *file.images[id_], caption)
            of_line = _fill(line, boxes, finder, args)
            linked |= of_line
            for region in line.regions:
                distinct.add(normalise_phrase(region['phrase']))
            tally.written['distinct phrases'] = len(distinct)
            if args.name_unlinked_boxes:
                _add_unlinked(line, boxes, of_line)
            lines.append(line.grounding())
        tally.written['boxes linked to a caption'] += len(linked)
        left = sum(map(len, boxes.values())) - len(linked)
        if left and not (lines and args.name_unlinked_boxes):
            tally.where = where
            tally.written['boxes'] -= left
            tally.drop('boxes that no caption names', left)
        yield from lines
