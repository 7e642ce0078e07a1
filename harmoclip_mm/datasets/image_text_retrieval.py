"""Images with several captions, for retrieval."""

from typing import List, Optional, Sequence, Union

from mmengine.logging import print_log

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import DATASETS

from .base import BaseImageTextDataset
from .caption_files import KARPATHY, read_captions


@DATASETS.register_module()
class ImageTextRetrievalDataset(BaseImageTextDataset):
    """One sample an image, with all its captions.

    The formats of :func:`read_captions` are told apart by their content. The
    split ``'test'`` of Karpathy's COCO ships with the package, so COCO's own
    ``captions_val2014.json`` serves as his file does: the same images, and the
    captions of each in the order of their ids, which is that of his file.

    Each sample has ``img_path``, ``img_id``, ``captions`` (list[str]),
    ``instances`` (empty), and ``height`` and ``width`` in px where the file
    has them.

    Args:
        ann_file (str): The file or folder, relative to ``data_root``.
        split (str or Sequence[str], optional): Split of a Karpathy file, such
            as ``'test'``, or ``('train', 'restval')``, or of DOCCI; of COCO
            captions ``'test'``. None keeps all.
        max_captions (int, optional): Keep the first so many captions of an
            image; protocols of COCO retrieval keep 5. None keeps all.
        data_root (str): Folder of ``ann_file`` and of the images.
        data_prefix (dict): ``img`` is the folder of the file names.
        **kwargs: See :class:`BaseImageTextDataset`.

    Raises:
        DataError: If it is missing, is no such file, see
            :func:`read_captions`, or holds no image with captions.
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
        self._require_ann_file(
            KARPATHY
            if self.splits
            else 'take annotations_trainval2017 of COCO'
        )
        images = read_captions(self.ann_file, self.splits, self.backend_args)
        samples = []
        for image in images:
            sample = self._sample(image['file_name'], image['id'], image)
            sample['captions'] = image['captions'][: self.max_captions]
            if sample['captions']:
                samples.append(sample)
        if not samples:
            raise DataError(
                f'{self.ann_file} holds no image with captions'
                + (f' in split {self.splits}' if self.splits else '')
            )
        print_log(
            f'{self.ann_file}: {len(samples)} images with '
            f'{sum(len(sample["captions"]) for sample in samples)} captions; '
            f'{len(images) - len(samples)} images without captions left out',
            logger='current',
        )
        return samples
