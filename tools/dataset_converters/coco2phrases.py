"""Turn COCO captions and instances into region phrases (ODVG jsonl).

Noun phrases of each caption that name a category, by its name, a synonym or a
plural, are linked to boxes of that category in the image: a plural to all, a
singular to the largest. A link that is less than certain has a score. The
output has one line for each caption, in the form that mmdet's goldg2odvg.py
writes and both mmdet's ODVGDataset and harmoclip_mm's RegionPhraseDataset
read.

Example:
    python tools/dataset_converters/coco2phrases.py \
        --instances data/coco/annotations/instances_train2017.json \
        --captions data/coco/annotations/captions_train2017.json \
        --out data/coco/annotations/train2017_odvg.jsonl
"""

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Set, Tuple

try:
    from harmoclip_mm.coco_file import (
        check_members,
        check_records,
        read_json,
    )
    from harmoclip_mm.errors import DataError, run_command
    from harmoclip_mm.files import replacing
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from rich.console import Console
from rich.progress import track
from rich.table import Table

from harmoclip_mm.files import replacing
from harmoclip_mm.text import PhraseFinder, link_caption, normalise_phrase
from harmoclip_mm.text.phrase_finder import UNSPACED
from harmoclip_mm.text.phrase_linking import SINGULARS


@dataclass
class Statistics:
    """Counts of what was linked; boxes are counted once for each image."""

    images: int = 0
    captions: int = 0
    captions_linked: int = 0
    spans_linked: int = 0
    spans_unlinked: int = 0
    phrases: Set[str] = field(default_factory=set)
    boxes: int = 0
    boxes_linked: int = 0
    boxes_crowd: int = 0
    boxes_degenerate: int = 0
    lines: int = 0
    regions: int = 0
    regions_unsure: int = 0
    captions_unspaced: int = 0
    unlinked: Counter = field(default_factory=Counter)


def read_coco(path: Path, **lists: Dict[str, str]) -> dict:
    """Read a COCO json; its lists are as they must be, and not empty."""
    content = read_json(str(path), 'give the file as COCO made it')
    for key, kinds in lists.items():
        found = check_records(content, key, str(path), **kinds)
        if not found and key != 'annotations':
            raise DataError(f'{path}: its list "{key}" is empty.')
    return content


def clip_box(annotation: dict, image: dict) -> Optional[List[float]]:
    """Box as xyxy in pixels inside the image; None if nothing is left.

    The same boxes are left out as in mmdet's goldg2odvg.py: without overlap
    with the image, without area, or narrower than one pixel.
    """
    x, y, w, h = annotation['bbox']
    width, height = image['width'], image['height']
    if w < 1 or h < 1 or annotation.get('area', 1) <= 0:
        return None
    box = [max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)]
    if box[2] <= box[0] or box[3] <= box[1]:
        return None
    # COCO gives hundredths of a pixel; sums in binary add noise to them.
    return [round(value, 2) for value in box]


def collect_boxes(
    instances: dict, path: Path, stats: Statistics
) -> Dict[int, Dict[str, List[List[float]]]]:
    """Boxes by image id and category name, in the order of the file."""
    images = {image['id']: image for image in instances['images']}
    names = {item['id']: item['name'] for item in instances['categories']}
    check_members(instances['annotations'], 'image_id', images, str(path))
    check_members(instances['annotations'], 'category_id', names, str(path))
    boxes: Dict[int, Dict[str, List[List[float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for item in instances['annotations']:
        if item.get('iscrowd', 0):
            stats.boxes_crowd += 1
            continue
        box = clip_box(item, images[item['image_id']])
        if box is None:
            stats.boxes_degenerate += 1
            continue
        boxes[item['image_id']][names[item['category_id']]].append(box)
        stats.boxes += 1
    return boxes


def name_categories(instances: dict) -> List[str]:
    """Names of the categories, without the roots of a hierarchy: what is
    another one's supercategory and has no boxes, as Roboflow writes it."""
    used = {item['category_id'] for item in instances['annotations']}
    roots = {
        item.get('supercategory')
        for item in instances['categories']
        if item.get('supercategory') != item['name']
    }
    return [
        item['name']
        for item in instances['categories']
        if item['id'] in used or item['name'] not in roots
    ]


def convert(
    instances_file: Path,
    captions_file: Path,
    out_file: Path,
    image_prefix: str = '',
    keep_unlinked: bool = True,
    name_unlinked_boxes: bool = False,
    words_file: Optional[Path] = None,
    singular: str = 'largest',
    progress: bool = True,
) -> Statistics:
    """Convert and write; lines are sorted by image id, then caption id.

    Args:
        instances_file (Path): COCO instances json.
        captions_file (Path): COCO captions json of the same images.
        out_file (Path): ODVG jsonl to write; folders are made.
        image_prefix (str): Put before each file name.
        keep_unlinked (bool): Whether captions without a linked span are
            written, with no regions. Defaults to True.
        name_unlinked_boxes (bool): Whether boxes that a caption does not
            name become regions too, with the category name as a phrase of
            its own (no span). Defaults to False.
        words_file (Path, optional): Words of the categories, in the form of
            ``harmoclip_mm/text/data/coco_phrases.json``.
        singular (str): What a singular noun is linked to, see
            ``link_caption``. Defaults to the largest box.
        progress (bool): Whether to show a progress bar.

    Returns:
        Statistics: What was linked.

    Raises:
        DataError: A file is missing or lacks what it should have, or a
            caption is of an unknown image.
    """
    stats = Statistics()
    ids = dict(image_id='id', category_id='id', bbox='box', area='number?')
    sides = dict(height='size', width='size')
    instances = read_coco(
        instances_file,
        images=dict(id='id', file_name='name', **sides),
        categories=dict(id='id', name='name'),
        annotations=dict(id='id?', **ids),
    )
    captions = read_coco(
        captions_file,
        annotations=dict(id='id?', image_id='id', caption='text'),
    )['annotations']
    images = {image['id']: image for image in instances['images']}
    boxes = collect_boxes(instances, instances_file, stats)
    names = name_categories(instances)
    try:
        if words_file is None:
            finder = PhraseFinder.from_categories(names)
        else:
            finder = PhraseFinder.from_file(words_file)
    except (FileNotFoundError, ValueError) as error:
        raise DataError(str(error)) from error
    for item in captions:
        if item['image_id'] not in images:
            raise DataError(
                f'{captions_file}: caption {item.get("id")} is of image '
                f'{item["image_id"]}, which {instances_file} does not list. '
                'Use the captions and instances of the same split.'
            )
    captions = sorted(captions, key=lambda x: (x['image_id'], x.get('id', 0)))
    linked_boxes: Dict[int, Set[Tuple[str, int]]] = defaultdict(set)
    with replacing(out_file) as part, open(
        part, 'w', encoding='utf-8'
    ) as file:
        for item in track(captions, 'Linking', disable=not progress):
            image = images[item['image_id']]
            # mmdet strips captions after reading, which would shift spans.
            caption = item['caption'].strip()
            of_image = boxes[image['id']]
            linked = link_caption(caption, of_image, finder, singular)
            linked_boxes[image['id']].update(linked.boxes)
            stats.captions += 1
            stats.captions_linked += bool(linked.linked)
            stats.spans_linked += len(linked.linked)
            stats.spans_unlinked += len(linked.unlinked)
            mentions = linked.linked or linked.unlinked
            if not mentions and UNSPACED.search(caption):
                stats.captions_unspaced += 1
            stats.regions += len(linked.regions)
            for region in linked.regions:
                stats.phrases.add(normalise_phrase(region['phrase']))
                stats.regions_unsure += 'score' in region
            for mention in linked.unlinked:
                stats.unlinked[
                    caption[mention.start : mention.end].lower()
                ] += 1
            if name_unlinked_boxes:
                for name, found in of_image.items():
                    rest = [
                        box
                        for index, box in enumerate(found)
                        if (name, index) not in linked.boxes
                    ]
                    if rest:
                        linked.regions.append(
                            {
                                'bbox': rest,
                                'phrase': name,
                                'tokens_positive': [],
                            }
                        )
            if not linked.regions and not keep_unlinked:
                continue
            line = {
                'filename': image_prefix + image['file_name'],
                'height': image['height'],
                'width': image['width'],
                'grounding': {'caption': caption, 'regions': linked.regions},
            }
            file.write(json.dumps(line, ensure_ascii=False) + '\n')
            stats.lines += 1
    stats.images = len(linked_boxes)
    stats.boxes_linked = sum(map(len, linked_boxes.values()))
    return stats


def make_table(stats: Statistics) -> Table:
    """Table of what was linked and what was not."""
    table = Table(title='COCO captions and instances to region phrases')
    table.add_column('')
    for name in ('total', 'linked', 'not linked', 'linked %'):
        table.add_column(name, justify='right')

    def row(name: str, linked: int, total: int) -> None:
        share = f'{100 * linked / total:.1f}' if total else '-'
        numbers = (total, linked, total - linked)
        table.add_row(name, *map(str, numbers), share)

    spans = stats.spans_linked + stats.spans_unlinked
    row('captions', stats.captions_linked, stats.captions)
    row('spans that name a category', stats.spans_linked, spans)
    row('boxes (by any caption)', stats.boxes_linked, stats.boxes)
    table.add_section()
    table.add_row('images with captions', str(stats.images))
    table.add_row('distinct phrases', str(len(stats.phrases)))
    table.add_row('phrases with boxes', str(stats.regions))
    table.add_row('of these with a score below 1', str(stats.regions_unsure))
    if stats.captions_unspaced:
        table.add_row(
            'captions in a script without spaces that name no category',
            str(stats.captions_unspaced),
        )
    table.add_row('crowd boxes left out', str(stats.boxes_crowd))
    table.add_row(
        'boxes left out (outside, < 1 px)', str(stats.boxes_degenerate)
    )
    table.add_row('lines written', str(stats.lines))
    return table


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--instances',
        type=Path,
        required=True,
        help='COCO instances json (images, annotations, categories)',
    )
    parser.add_argument(
        '--captions',
        type=Path,
        required=True,
        help='COCO captions json of the same images',
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='ODVG jsonl to write'
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
        'that is alone (default: largest)',
    )
    unlinked = parser.add_mutually_exclusive_group()
    unlinked.add_argument(
        '--keep-unlinked',
        dest='keep_unlinked',
        action='store_true',
        default=True,
        help='write captions without a linked span too, with no regions: '
        'they still train the global loss (default)',
    )
    unlinked.add_argument(
        '--drop-unlinked',
        dest='keep_unlinked',
        action='store_false',
        help='leave out captions without a linked span',
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
        help='also list the N most frequent spans that found no box '
        '(default: 0)',
    )
    return parser.parse_args()


def main() -> None:
    """Run the converter."""
    args = parse_args()
    stats = convert(
        args.instances,
        args.captions,
        args.out,
        args.image_prefix,
        keep_unlinked=args.keep_unlinked,
        name_unlinked_boxes=args.name_unlinked_boxes,
        words_file=args.words,
        singular=args.singular,
    )
    console = Console()
    console.print(make_table(stats))
    for phrase, count in stats.unlinked.most_common(args.show_unlinked):
        console.print(f'{count:>8}  {phrase}')
    print(f'Wrote {args.out}')


if __name__ == '__main__':
    run_command(main)
