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

from . import coco
from .coco_reading import CocoFile, read_captions, sort_key
from .lines import Line, Tally
from .reading import require

_SPANS = 'spans without a box'


def add_arguments(parser) -> None:
    """What this format can be told."""
    parser.add_argument(
        '--captions', type=Path, required=True, help='COCO captions JSON'
    )
    parser.add_argument(
        '--image-prefix',
        default='',
        help='put before each file name, such as train2017/ (default: none)',
    )
    parser.add_argument(
        '--words',
        type=Path,
        help='JSON with synonyms of your own categories, in the form of '
        "harmoclip_mm/text/data/coco_phrases.json (default: COCO's for its "
        'categories, else their names and regular plurals)',
    )
    parser.add_argument(
        '--singular',
        choices=SINGULARS,
        default='largest',
        help='what a singular noun is linked to where its category has '
        'several boxes: the largest, with a score by how much larger it is '
        'than the next; all of n, each with a score of 1 / n; or only a box '
        'that is alone (default: %(default)s)',
    )
    parser.add_argument(
        '--drop-unlinked',
        action='store_true',
        help='leave out captions without a region, which would train the '
        'global loss only',
    )
    parser.add_argument(
        '--name-unlinked-boxes',
        action='store_true',
        help='also write the boxes that a caption does not name, the '
        'category name being a phrase of its own: every box trains, though '
        'only linked ones have a span in the caption',
    )
    parser.add_argument(
        '--show-unlinked',
        type=int,
        default=0,
        metavar='N',
        help='also tell the N most frequent spans that got no box '
        '(default: %(default)s)',
    )


def list_parts(args) -> List[Path]:
    """The instances."""
    require(args.captions, 'it should be a COCO captions JSON')
    if args.words:
        require(args.words, 'it should be a JSON of synonyms')
    return coco.list_parts(args)


def name_categories(file: CocoFile) -> List[str]:
    """Names of the categories, without the roots of a hierarchy: what is
    another one's supercategory and has no boxes, as Roboflow writes it."""
    return [
        name
        for id_, name in file.names.items()
        if id_ in file.labels or name not in file.roots
    ]


class _Linker:
    """Links captions and counts what was found."""

    def __init__(self, file: CocoFile, args, tally: Tally) -> None:
        self.args, self.tally = args, tally
        self.phrases = set()
        self.spans = Tally()  # drops those without a box, by their words
        try:
            if args.words:
                self.finder = PhraseFinder.from_file(args.words)
            else:
                names = name_categories(file)
                self.finder = PhraseFinder.from_categories(names)
        except ValueError as error:
            raise DataError(str(error)) from error

    def link(self, line: Line, boxes: Dict[str, list]) -> set:
        """Fill a line; category and index of each box that it names."""
        text, tally = line.caption, self.tally
        linked = link_caption(text, boxes, self.finder, self.args.singular)
        line.regions = linked.regions
        tally.written['lines with linked spans'] += bool(linked.linked)
        tally.written['spans linked to boxes'] += len(linked.linked)
        for region in linked.regions:
            self.phrases.add(normalise_phrase(region['phrase']))
            tally.written['regions with a score below 1'] += 'score' in region
        tally.written['distinct phrases'] = len(self.phrases)
        self.spans.where = tally.where
        for mention in linked.unlinked:
            tally.drop(_SPANS)
            self.spans.drop(text[mention.start : mention.end].lower())
        mentions = linked.linked or linked.unlinked
        if not mentions and UNSPACED.search(text):
            tally.read['captions without spaces that name no category'] += 1
        return set(linked.boxes)

    def show_unlinked(self) -> None:
        """Tell the most frequent spans without a box one by one."""
        most = self.spans.dropped.most_common(self.args.show_unlinked)
        for words, number in most:
            self.tally.where = self.spans.first[words]
            self.tally.drop(f'{_SPANS}: {words}', number)


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
    file = CocoFile(part, tally)
    linker = _Linker(file, args, tally)
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
            line.filename = args.image_prefix + line.filename
            of_line = linker.link(line, boxes)
            linked |= of_line
            if args.name_unlinked_boxes:
                _add_unlinked(line, boxes, of_line)
            if line.regions or not args.drop_unlinked:
                lines.append(line.grounding())
            else:
                tally.drop('captions without a region')
        tally.written['boxes linked to a caption'] += len(linked)
        left = sum(map(len, boxes.values())) - len(linked)
        if left and not (lines and args.name_unlinked_boxes):
            tally.where = where
            tally.written['boxes'] -= left
            tally.drop('boxes that no caption names', left)
        yield from lines
    linker.show_unlinked()
