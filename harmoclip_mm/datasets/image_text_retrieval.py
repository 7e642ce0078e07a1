"""Images with several captions, for retrieval."""

import os.path as osp
from collections import Counter
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional, Sequence, Union

from mmengine.logging import print_log

from harmoclip_mm.coco_file import check_members, check_records, read_json
from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import DATASETS

from .base import BaseImageTextDataset
from .long_captions import LongCaption, read_dci, read_docci

_KARPATHY = (
    'take it from caption_datasets.zip of '
    'https://cs.stanford.edu/people/karpathy/deepimagesent/'
)
_SPLITS = Path(__file__).parent / 'data'


@DATASETS.register_module()
class ImageTextRetrievalDataset(BaseImageTextDataset):
    """One sample an image, with all its captions.

    Two formats are told apart by their content: COCO captions
    (``captions_val2017.json``), and the splits of Karpathy and Fei-Fei (CVPR
    2015), ``dataset_flickr30k.json`` and ``dataset_coco.json``. The split
    ``'test'`` of the latter ships with the package, so COCO's own
    ``captions_val2014.json`` does as well: the same images, and the captions
    of each in the order of their ids, which is that of Karpathy's file.
    A folder is ``annotations/`` of DCI, a file that ends with ``.jsonlines``
    that of DOCCI: one long caption an image, see :func:`read_dci` and
    :func:`read_docci`.

    Each sample has ``img_path``, ``img_id``, ``captions`` (list[str]),
    ``instances`` (empty), and ``height`` and ``width`` in px where the file
    has them.

    Args:
        ann_file (str): The json file, relative to ``data_root``.
        split (str or Sequence[str], optional): Split of a Karpathy file, such
            as ``'test'``, or ``('train', 'restval')``, or of DOCCI; of COCO
            captions ``'test'``. None keeps all.
        max_captions (int, optional): Keep the first so many captions of an
            image; protocols of COCO retrieval keep 5. None keeps all.
        data_root (str): Folder of ``ann_file`` and of the images.
        data_prefix (dict): ``img`` is the folder of the file names.
        **kwargs: See :class:`BaseImageTextDataset`.

    Raises:
        DataError: If it is missing or has neither format, lacks an image of
            the split, has an image twice or captions of an image that it does
            not list, or holds no image with captions.
    """

    def __init__(
        self,
        *args,
        split: Optional[Union[str, Sequence[str]]] = None,
        max_captions: Optional[int] = None,
        **kwargs,
    ) -> None:
        self.splits = (split,) if isinstance(split, str) else split
        self.max_captions = max_captions
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Read the annotation file.

        Returns:
            list[dict]: One sample for each image that has captions.
        """
        if self.splits:
            self._require_ann_file(_KARPATHY)
        else:
            self._require_ann_file('take annotations_trainval2017 of COCO')
        if osp.isdir(self.ann_file):
            samples = self._read_long(read_dci(self.ann_file))
        elif self.ann_file.endswith('.jsonlines'):
            samples = self._read_long(read_docci(self.ann_file, self.splits))
        else:
            samples = self._read_json()
        for sample in samples:
            sample['captions'] = sample['captions'][: self.max_captions]
        kept = [sample for sample in samples if sample['captions']]
        if not kept:
            raise DataError(
                f'{self.ann_file} holds no image with captions'
                + (f' in split {self.splits}' if self.splits else '')
            )
        print_log(
            f'{self.ann_file}: {len(kept)} images with '
            f'{sum(len(sample["captions"]) for sample in kept)} captions; '
            f'{len(samples) - len(kept)} images without captions left out',
            logger='current',
        )
        return kept

    def _read_json(self) -> List[dict]:
        content = read_json(self.ann_file, _KARPATHY, self.backend_args)
        if not isinstance(content, dict) or 'images' not in content:
            raise DataError(
                f'{self.ann_file} is neither a COCO captions file nor a '
                "Karpathy split: it has no list 'images'"
            )
        if 'annotations' in content:
            return self._read_coco(content)
        return self._read_karpathy(content)

    def _read_long(self, read: Sequence[LongCaption]) -> List[dict]:
        self._check_unique([image_id for image_id, _, _ in read])
        samples = []
        for image_id, name, caption in read:
            samples.append(self._sample(name, image_id, {}))
            samples[-1]['captions'] = [caption] if caption else []
        return samples

    def _sample(self, name: str, image_id, image: dict) -> dict:
        sample = {
            'img_path': osp.join(self.data_prefix.get('img', ''), name),
            'img_id': image_id,
            'captions': [],
            'instances': [],
        }
        for key in ('height', 'width'):
            if key in image:
                sample[key] = image[key]
        return sample

    def _read_coco(self, content: dict) -> List[dict]:
        kinds = dict(id='id', file_name='name', height='size?', width='size?')
        images = check_records(content, 'images', self.ann_file, **kinds)
        names = {image['id']: image['file_name'] for image in images}
        number = 'id' if self.splits else 'id?'  # captions are put in order
        kinds = dict(id=number, image_id='id', caption='text')
        annotations = check_records(
            content, 'annotations', self.ann_file, **kinds
        )
        check_members(annotations, 'image_id', names, self.ann_file)
        if self.splits:
            chosen = self._coco_split(names)
            images = [image for image in images if image['id'] in chosen]
            # as Karpathy's file orders them
            annotations = sorted(annotations, key=lambda each: each['id'])
            for number in chosen:  # COCO_val2014_000000000042.jpg
                folder = names[number].split('_')[1:2]
                names[number] = osp.join(*folder, names[number])
        samples = {
            image['id']: self._sample(names[image['id']], image['id'], image)
            for image in images
        }
        for annotation in annotations:
            sample = samples.get(annotation['image_id'])
            if sample is not None:
                sample['captions'].append(annotation['caption'])
        return list(samples.values())

    def _coco_split(self, names: Dict[int, str]) -> FrozenSet[int]:
        """Ids of the images of Karpathy's split, all of them in the file."""
        if tuple(self.splits) != ('test',):
            raise DataError(
                f'split={self.splits}: of the splits of Karpathy only "test" '
                f'ships with the package, and {self.ann_file} is a COCO '
                'captions file; for another one take dataset_coco.json'
            )
        lines = (_SPLITS / 'karpathy_coco_test.txt').read_text().split()
        chosen = frozenset(map(int, lines))
        missing = sorted(chosen - set(names))
        if missing:
            raise DataError(
                f'{self.ann_file} lacks {len(missing)} of the {len(chosen)} '
                f'images of the split, the first is image {missing[0]}: take '
                'captions_val2014.json of COCO, which has them all'
            )
        return chosen

    def _check_unique(self, ids: Sequence) -> None:
        number, count = Counter(ids).most_common(1)[0] if ids else (None, 0)
        if count > 1:
            raise DataError(
                f'{self.ann_file} lists image {number} {count} times; give '
                'each image an id of its own'
            )

    def _read_karpathy(self, content: dict) -> List[dict]:
        split = 'text' if self.splits else 'text?'
        kinds = dict(filename='name', filepath='text?', sentences='list')
        ids = dict(imgid='id?', cocoid='id?')
        images = check_records(
            content, 'images', self.ann_file, split=split, **kinds, **ids
        )
        samples = []
        for image in images:
            if self.splits and image['split'] not in self.splits:
                continue
            where = f'{self.ann_file}, image {image["filename"]}'
            sentences = check_records(image, 'sentences', where, raw='text')
            if 'cocoid' not in image and 'imgid' not in image:
                raise DataError(f'{where} has neither cocoid nor imgid')
            # dataset_coco.json names the folder (val2014) of each image.
            name = osp.join(image.get('filepath', ''), image['filename'])
            image_id = image.get('cocoid', image.get('imgid'))
            sample = self._sample(name, image_id, image)
            sample['captions'] = [text['raw'] for text in sentences]
            samples.append(sample)
        self._check_unique([sample['img_id'] for sample in samples])
        return samples
