"""FG-OVD: boxes with one right expression among hard negatives."""

import glob
import json
import math
import os.path as osp
from collections import Counter
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from mmengine.logging import print_log

from harmoclip_mm.coco_file import (
    check_fields,
    check_members,
    check_records,
    read_json,
)
from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import DATASETS

from .base import BaseImageTextDataset

# Names of the sets in the paper (table 2), and of their files.
BENCHMARKS = {
    'hard': '1_attributes',
    'medium': '2_attributes',
    'easy': '3_attributes',
    'trivial': 'shuffle_negatives',
    'color': 'color',
    'material': 'material',
    'pattern': 'pattern',
    'transparency': 'transparency',
}
_SOURCE = (
    'take the folder benchmarks/ of https://github.com/lorebianchi98/FG-OVD'
)


@DATASETS.register_module()
class FGOVDDataset(BaseImageTextDataset):
    """Boxes, each with its right expression and wrong ones (FG-OVD, arXiv
    2311.17518).

    Two formats are read: the benchmark's own json files (LVIS format, in
    which annotations have ``neg_category_ids``), and lines of FG-CLIP's
    evaluation (jsonl with ``img_path``, ``bbox``, ``pos_expression`` and
    ``neg_expression``).

    One sample is one image with its boxes of all sets: ``img_path``,
    ``img_id``, ``height``, ``width`` (px), ``phrases`` (list[str], the
    distinct expressions) and ``instances`` with ``bbox`` (xyxy in px),
    ``bbox_label`` (the right expression), ``candidates`` (it and the wrong
    ones, indices into ``phrases``), ``subset`` (index into ``sets``) and
    ``ignore_flag`` 0. ``metainfo['subsets']`` names the sets.

    Args:
        ann_file (str): A jsonl or json file, or a folder with a file for
            each set, such as ``1_attributes.json``. Lines say their set
            under ``test_type``, files by their name.
        sets (Sequence[str]): The sets to read: ``hard``, ``medium``,
            ``easy``, ``trivial``, ``color``, ``material``, ``pattern``,
            ``transparency``. Defaults to the first four.
        num_negatives (int): Wrong expressions of a box. More are cut off;
            boxes with fewer are left out, as in FG-OVD's evaluation.
            Defaults to 10.
        data_root (str): Folder of ``ann_file`` and of the images.
        data_prefix (dict): ``img`` is the folder of the file names, which
            hold ``train2017/`` or ``val2017/``.
        metainfo (dict, optional): More meta information.
        **kwargs: See :class:`BaseImageTextDataset`.

    Raises:
        DataError: If a file is missing, malformed (naming it and the line or
            the annotation), or holds no boxes.
    """

    def __init__(
        self,
        *args,
        sets: Sequence[str] = ('hard', 'medium', 'easy', 'trivial'),
        num_negatives: int = 10,
        metainfo: Optional[dict] = None,
        **kwargs,
    ) -> None:
        unknown = [name for name in sets if name not in BENCHMARKS]
        if unknown or not sets:
            raise ValueError(
                f'sets must name some of {", ".join(BENCHMARKS)}, not '
                f'{list(sets)}'
            )
        self.sets = tuple(sets)
        self.num_negatives = num_negatives
        super().__init__(
            *args,
            metainfo={**(metainfo or {}), 'subsets': self.sets},
            **kwargs,
        )

    def load_data_list(self) -> List[dict]:
        """Read the annotations."""
        images: Dict[str, dict] = {}
        tally: Counter = Counter()
        for path, subset in self._files():
            read = _read_lines if path.endswith('.jsonl') else _read_lvis
            for where, record, right, wrong in read(path):
                name = subset or _subset_of(record, where)
                if name not in self.sets:
                    tally['of other sets'] += 1
                elif len(wrong) < self.num_negatives:
                    tally[f'with < {self.num_negatives} negatives'] += 1
                else:
                    tally[name] += 1
                    wrong = wrong[: self.num_negatives]
                    instance = self._instance(record, where, name)
                    self._add(images, record, instance, right, wrong, where)
        used = {name: tally.pop(name) for name in self.sets if tally[name]}
        if not used:
            raise DataError(
                f'{self.ann_file} holds no boxes of {", ".join(self.sets)}'
                f'{_list(tally)}'
            )
        print_log(
            f'{self.ann_file}: {len(images)} images; boxes{_list(used)}; '
            f'left out{_list(tally) or ": none"}',
            logger='current',
        )
        return list(images.values())

    def _files(self) -> List[Tuple[str, Optional[str]]]:
        """Files to read, each with the set that its name tells."""
        by_name = {file: name for name, file in BENCHMARKS.items()}
        if osp.isfile(self.ann_file):
            stem = osp.splitext(osp.basename(self.ann_file))[0]
            stem = stem.replace('_llava', '')  # FG-CLIP's own names
            name = by_name.get(stem)
            if name is None and not self.ann_file.endswith('.jsonl'):
                raise DataError(
                    f'{self.ann_file}: the name of a json file tells its '
                    f'set: {", ".join(by_name)}'
                )
            return [(self.ann_file, name)]
        files = []
        for name in self.sets:
            start = osp.join(self.ann_file, BENCHMARKS[name])
            found = [
                *glob.glob(f'{start}.json'),
                *glob.glob(f'{start}*.jsonl'),
            ]
            if not found:
                raise DataError(
                    f'annotation file {osp.abspath(start)}.json does not '
                    f'exist. Check ann_file and data_root={self.data_root!r}, '
                    f'or {_SOURCE}'
                )
            files.append((found[0], name))
        return files

    def _instance(self, record: dict, where: str, name: str) -> dict:
        sides = dict(height='size?', width='size?')
        check_fields(record, where, bbox='box', image_id='id?', **sides)
        x, y, width, height = map(float, record['bbox'])
        if min(width, height) <= 0 or not self._meets_image(record):
            raise DataError(
                f'{where}: bbox must be x, y, width and height in px, in its '
                f'image, not {record["bbox"]}'
            )
        return {
            'bbox': [x, y, x + width, y + height],
            'ignore_flag': 0,
            'subset': self.sets.index(name),
        }

    @staticmethod
    def _meets_image(record: dict) -> bool:
        """Whether a box has a part in its image and is not larger twice."""
        x, y, width, height = record['bbox']
        return all(
            start < side and start + size > 0 and size <= 2 * side
            for start, size, side in (
                (x, width, record.get('width', math.inf)),
                (y, height, record.get('height', math.inf)),
            )
        )

    def _add(
        self,
        images: Dict[str, dict],
        record: dict,
        instance: dict,
        right: str,
        wrong: Sequence[str],
        where: str,
    ) -> None:
        if right in wrong:
            raise DataError(
                f'{where}: the right expression is among the wrong ones: '
                f'{right!r}'
            )
        name = record['img_path']
        sample = images.setdefault(
            name,
            {
                'img_path': osp.join(self.data_prefix.get('img', ''), name),
                'img_id': record.get('image_id', name),
                'phrases': {},
                'instances': [],
            },
        )
        for key in ('height', 'width'):
            if key in record:
                sample[key] = record[key]
        phrases = sample['phrases']
        place = {each['phrase']: i for i, each in phrases.items()}
        for text in (right, *wrong):
            label = place.setdefault(text, len(place))
            phrases[label] = {'phrase': text, 'tokens_positive': []}
        instance['bbox_label'] = place[right]
        # A wrong expression that is given twice counts once.
        instance['candidates'] = sorted({place[t] for t in (right, *wrong)})
        sample['instances'].append(instance)


def _list(tally: dict) -> str:
    parts = ', '.join(f'{count} {name}' for name, count in tally.items())
    return f': {parts}' if parts else ''


def _subset_of(record: dict, where: str) -> str:
    kind = record.get('test_type')
    for name, file in BENCHMARKS.items():
        if kind == file:
            return name
    raise DataError(
        f'{where}: test_type must be one of '
        f'{", ".join(BENCHMARKS.values())}, not {kind!r}'
    )


def _read_lines(path: str) -> Iterator[Tuple[str, dict, str, List[str]]]:
    """FG-CLIP's lines, one box each."""
    with open(path, 'rb') as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f'{path}:{number}'
            try:
                record = json.loads(line)
                (right,) = record['pos_expression']
                wrong = record['neg_expression']
                texts = (right, *wrong, record['img_path'])
                if type(wrong) is not list or not all(
                    type(text) is str and text.strip() for text in texts
                ):
                    raise TypeError('a text is no text')
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{where}: not a line of FG-CLIP's evaluation, which "
                    'has img_path, bbox, one pos_expression and a list '
                    f'neg_expression ({error!r})'
                ) from error
            yield where, record, right, wrong


def _read_lvis(path: str) -> Iterator[Tuple[str, dict, str, List[str]]]:
    """The benchmark's own files: a category is an expression."""
    content = read_json(path, _SOURCE)
    sides = dict(height='size', width='size')
    images = check_records(
        content, 'images', path, id='id', file_name='name', **sides
    )
    categories = check_records(
        content, 'categories', path, id='id', name='name'
    )
    ids = dict(id='id', image_id='id', category_id='id')
    ids['neg_category_ids'] = 'list'
    annotations = check_records(
        content, 'annotations', path, bbox='box', **ids
    )
    by_id = {image['id']: image for image in images}
    names = {each['id']: each['name'] for each in categories}
    check_members(annotations, 'image_id', by_id, path)
    check_members(annotations, 'category_id', names, path)
    for annotation in annotations:
        where = f'{path}, annotation {annotation["id"]}'
        image = by_id[annotation['image_id']]
        record = {
            'img_path': image['file_name'],
            'image_id': image['id'],
            'height': image['height'],
            'width': image['width'],
            'bbox': annotation['bbox'],
        }
        right = names[annotation['category_id']]
        try:
            wrong = [names[i] for i in annotation['neg_category_ids']]
        except (KeyError, TypeError) as error:
            raise DataError(
                f'{where}: neg_category_ids has {error}, which is no id of '
                'a category'
            ) from error
        yield where, record, right, wrong
