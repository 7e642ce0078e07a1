"""Images with several captions, for retrieval."""

import os.path as osp
from typing import List, Optional, Sequence, Union

import mmengine.fileio as fileio
from mmengine.logging import print_log

from harmoclip_mm.registry import DATASETS

from .base import BaseImageTextDataset

__all__ = ['ImageTextRetrievalDataset']

_KARPATHY = (
    'take it from caption_datasets.zip of '
    'https://cs.stanford.edu/people/karpathy/deepimagesent/'
)


@DATASETS.register_module()
class ImageTextRetrievalDataset(BaseImageTextDataset):
    """One sample an image, with all its captions.

    Two formats are told apart by their content: COCO captions
    (``captions_val2017.json``), and the splits of Karpathy and Fei-Fei (CVPR
    2015), ``dataset_flickr30k.json`` and ``dataset_coco.json``.

    Each sample has ``img_path``, ``img_id``, ``captions`` (list[str]),
    ``instances`` (empty), and ``height`` and ``width`` in px where the file
    has them.

    Args:
        ann_file (str): The json file, relative to ``data_root``.
        split (str or Sequence[str], optional): Split of a Karpathy file, such
            as ``'test'``, or ``('train', 'restval')``. None keeps all.
        max_captions (int, optional): Keep the first so many captions of an
            image; protocols of COCO retrieval keep 5. None keeps all.
        data_root (str): Folder of ``ann_file`` and of the images.
        data_prefix (dict): ``img`` is the folder of the file names.
        **kwargs: See :class:`BaseImageTextDataset`.

    Raises:
        FileNotFoundError: If the annotation file is missing.
        ValueError: If it has neither format, or holds no image with captions.
    """

    def __init__(
        self,
        ann_file: str = '',
        split: Optional[Union[str, Sequence[str]]] = None,
        max_captions: Optional[int] = None,
        data_root: str = '',
        data_prefix: dict = dict(img=''),  # noqa: B006
        **kwargs,
    ) -> None:
        self.splits = (split,) if isinstance(split, str) else split
        self.max_captions = max_captions
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix,
            **kwargs,
        )

    def load_data_list(self) -> List[dict]:
        """Read the annotation file.

        Returns:
            list[dict]: One sample for each image that has captions.
        """
        if self.splits:
            self._require_ann_file(_KARPATHY)
        else:
            self._require_ann_file('take annotations_trainval2017 of COCO')
        content = fileio.load(self.ann_file, backend_args=self.backend_args)
        try:
            if 'annotations' in content:
                samples = self._read_coco(content)
            else:
                samples = self._read_karpathy(content['images'])
        except (KeyError, TypeError) as error:
            raise ValueError(
                f'{self.ann_file} is neither a COCO captions file nor a '
                f'Karpathy split ({error!r} is missing or of another type)'
            ) from error
        for sample in samples:
            sample['captions'] = sample['captions'][: self.max_captions]
        kept = [sample for sample in samples if sample['captions']]
        if not kept:
            raise ValueError(
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
        if self.splits:
            raise ValueError(
                f'split={self.splits} is for Karpathy files; '
                f'{self.ann_file} is a COCO captions file, one split by itself'
            )
        samples = {
            image['id']: self._sample(image['file_name'], image['id'], image)
            for image in content['images']
        }
        for annotation in content['annotations']:
            caption = annotation['caption']
            samples[annotation['image_id']]['captions'].append(caption)
        return list(samples.values())

    def _read_karpathy(self, images: List[dict]) -> List[dict]:
        samples = []
        for image in images:
            if self.splits and image['split'] not in self.splits:
                continue
            # dataset_coco.json names the folder (val2014) of each image.
            name = osp.join(image.get('filepath', ''), image['filename'])
            image_id = image.get('cocoid', image['imgid'])
            sample = self._sample(name, image_id, image)
            sample['captions'] = [text['raw'] for text in image['sentences']]
            samples.append(sample)
        return samples
