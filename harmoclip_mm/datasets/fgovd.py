"""FG-OVD: boxes with one right expression among hard negatives."""

import math
import os.path as osp
from collections import Counter
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import mmengine.fileio as fileio
from mmengine.logging import print_log

from harmoclip_mm.coco_file import (
    check_fields,
    check_members,
    check_records,
    read_json,
    read_json_lines,
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
_SIDES = dict(height='size?', width='size?')


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
            for where, record in read(path, self.backend_args):
                name = subset or _subset_of(record, where)
                count = len(record['neg_expression'])
                if name not in self.sets:
                    tally['of other sets'] += 1
                elif count < self.num_negatives:
                    tally[f'with < {self.num_negatives} negatives'] += 1
                else:
                    tally[name] += 1
                    self._add(images, record, self.sets.index(name), where)
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
        if osp.splitext(self.ann_file)[1] in ('.json', '.jsonl'):
            stem = osp.splitext(osp.basename(self.ann_file))[0]
            stem = stem.replace('_llava', '')  # FG-CLIP's own names
            by_file = {file: name for name, file in BENCHMARKS.items()}
            if stem not in by_file and self.ann_file.endswith('.json'):
                raise DataError(
                    f'{self.ann_file}: the name of a json file tells its '
                    f'set: {", ".join(by_file)}'
                )
            return [(self.ann_file, by_file.get(stem))]
        backend, names = self.backend_args, []
        if fileio.isdir(self.ann_file, backend_args=backend):
            names = sorted(
                fileio.list_dir_or_file(
                    self.ann_file, list_dir=False, backend_args=backend
                )
            )
        files: List[Tuple[str, Optional[str]]] = []
        for subset in self.sets:
            start = BENCHMARKS[subset]
            found = [x for x in names if x == f'{start}.json'] or [
                x
                for x in names
                if x.startswith(start) and x.endswith('.jsonl')
            ]
            if not found:
                start = osp.abspath(osp.join(self.ann_file, start))
                raise DataError(
                    f'annotation file {start}.json does not exist. Check '
                    f'ann_file and data_root={self.data_root!r}, or {_SOURCE}'
                )
            files.append((osp.join(self.ann_file, found[0]), subset))
        return files

    def _add(
        self, images: Dict[str, dict], record: dict, subset: int, where: str
    ) -> None:
        """Add a box to the sample of its image."""
        check_fields(record, where, bbox='box', image_id='id?', **_SIDES)
        x, y, width, height = map(float, record['bbox'])
        right, *wrong = record['pos_expression'] + record['neg_expression']
        wrong = wrong[: self.num_negatives]
        # a part of it is in its image, and it is not larger twice
        if not all(
            0 < size <= 2 * side and -size < start < side
            for start, size, side in (
                (x, width, record.get('width', math.inf)),
                (y, height, record.get('height', math.inf)),
            )
        ):
            raise DataError(
                f'{where}: bbox must be x, y, width and height in px, in its '
                f'image, not {record["bbox"]}'
            )
        if right in wrong:
            raise DataError(
                f'{where}: the right expression is among the wrong ones: '
                f'{right!r}'
            )
        name = record['img_path']
        sample = self._sample(name, record.get('image_id', name), record)
        known = images.setdefault(name, dict(sample, phrases={}))
        known.update((key, sample[key]) for key in _SIDES if key in sample)
        phrases = known['phrases']
        place = {each['phrase']: i for i, each in phrases.items()}
        for text in (right, *wrong):
            label = place.setdefault(text, len(place))
            phrases[label] = {'phrase': text, 'tokens_positive': []}
        known['instances'].append(
            {
                'bbox': [x, y, x + width, y + height],
                'bbox_label': place[right],
                # A wrong expression that is given twice counts once.
                'candidates': sorted({place[t] for t in (right, *wrong)}),
                'subset': subset,
                'ignore_flag': 0,
            }
        )


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


def _read_lines(
    path: str, backend_args: Optional[dict]
) -> Iterator[Tuple[str, dict]]:
    """FG-CLIP's lines, one box each."""
    for where, record in read_json_lines(path, _SOURCE, backend_args):
        texts = dict(pos_expression='names', neg_expression='names')
        check_fields(record, where, img_path='name', **texts)
        if len(record['pos_expression']) != 1:
            raise DataError(f'{where}: a box has one pos_expression')
        yield where, record


def _read_lvis(
    path: str, backend_args: Optional[dict]
) -> Iterator[Tuple[str, dict]]:
    """The benchmark's own files, as FG-CLIP's lines: a category is an
    expression."""
    content = read_json(path, _SOURCE, backend_args)
    sides = dict(height='size', width='size')
    images = check_records(
        content, 'images', path, id='id', file_name='name', **sides
    )
    categories = check_records(
        content, 'categories', path, id='id', name='name'
    )
    ids = dict(id='id', image_id='id', category_id='id')
    annotations = check_records(
        content, 'annotations', path, neg_category_ids='list', **ids
    )
    by_id = {image['id']: image for image in images}
    names = {each['id']: each['name'] for each in categories}
    check_members(annotations, 'image_id', by_id, path)
    check_members(annotations, 'category_id', names, path)
    for annotation in annotations:
        where = f'{path}, annotation {annotation["id"]}'
        image = by_id[annotation['image_id']]
        try:
            wrong = [names[i] for i in annotation['neg_category_ids']]
        except (KeyError, TypeError) as error:
            raise DataError(
                f'{where}: neg_category_ids has {error}, which is no id of '
                'a category'
            ) from error
        record = {
            'img_path': image['file_name'],
            'bbox': annotation.get('bbox'),
            'pos_expression': [names[annotation['category_id']]],
            'neg_expression': wrong,
        }
        yield (
            where,
            dict(record, image_id=image['id'], **{k: image[k] for k in sides}),
        )
