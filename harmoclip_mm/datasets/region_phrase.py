"""Images whose regions are described by phrases of a caption."""

import os.path as osp
from typing import Sequence, Union

import numpy as np
from mmengine.dataset import force_full_init
from mmengine.logging import print_log

from harmoclip_mm.registry import DATASETS

from .base import BaseImageTextDataset
from .odvg_file import LineGroups, OdvgFile

__all__ = ['RegionPhraseDataset']


@DATASETS.register_module()
class RegionPhraseDataset(BaseImageTextDataset):
    """Regions with phrases, from ODVG lines.

    Each sample has the keys ``img_path``, ``img_id``, ``height``, ``width``
    (px), ``caption`` (str, '' if none), ``phrases`` (list[str]),
    ``tokens_positive`` (for each phrase its list of ``[start, end)`` character
    spans in the caption, or None if the phrase is a text of its own) and
    ``instances`` (``bbox`` xyxy in px, ``bbox_label`` = index into phrases,
    ``ignore_flag`` 0). Images without regions are legal.

    Grounding lines give captions with linked phrases. A region without
    ``tokens_positive`` is looked up in its caption: the first place where its
    phrase stands as whole words. Detection lines are given a caption that
    lists their categories. Boxes are clipped to the image and dropped below
    1 px; one line of the log sums up how many.

    The file is read through once, which checks every line; an index is left
    beside it, or in ``~/.cache`` where that is read-only. From then on it
    opens at once, a line is parsed when its sample is asked for, and a changed
    file is indexed anew. See :class:`OdvgFile` for other file backends.

    Args:
        ann_file (str): ODVG jsonl file, relative to ``data_root``.
        caption_choice (str): What to do with several lines of one image:
            ``'random'`` makes one sample of an image and draws one of its
            lines at each access, so that an epoch shows each image once and
            no batch holds an image twice; ``'first'`` keeps its first line;
            ``'all'`` makes every line a sample.
        data_root (str): Folder of ``ann_file`` and of the images.
        data_prefix (dict): ``img`` is the folder of the file names.
        filter_cfg (dict, optional): ``filter_empty_gt=True`` drops samples
            without boxes, ``min_size`` drops images whose shorter side is
            below so many px. Without effect in ``test_mode``.
        **kwargs: See :class:`BaseImageTextDataset`; ``serialize_data`` is
            without effect.

    Raises:
        FileNotFoundError: If the annotation file is missing.
        ValueError: If it is malformed (naming file and line) or holds no
            samples.
    """

    CAPTION_CHOICES = ('random', 'first', 'all')

    def __init__(
        self,
        ann_file: str = '',
        caption_choice: str = 'random',
        data_root: str = '',
        data_prefix: dict = dict(img=''),  # noqa: B006
        **kwargs,
    ) -> None:
        if caption_choice not in self.CAPTION_CHOICES:
            raise ValueError(
                f'caption_choice must be one of {self.CAPTION_CHOICES}, not '
                f'{caption_choice!r}'
            )
        self.caption_choice = caption_choice
        # Lines stay in their file: there is nothing to serialize.
        kwargs['serialize_data'] = False
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix,
            **kwargs,
        )

    def load_data_list(self) -> LineGroups:
        """Open the ODVG file by its index.

        Returns:
            LineGroups: The lines of each sample.
        """
        self._require_ann_file()
        self._file = OdvgFile(self.ann_file, self.backend_args)
        rows = self._file.rows
        if not len(rows):
            raise ValueError(f'{self.ann_file} holds no samples')
        if self.caption_choice == 'all':
            samples = LineGroups.one_each(np.arange(len(rows)))
        elif self.caption_choice == 'random':
            samples = LineGroups.by_image(rows['image'])
        else:
            first = np.flatnonzero(rows['first'] == np.arange(len(rows)))
            samples = LineGroups.one_each(first)
        tally = self._file.tally
        print_log(
            f'{self.ann_file}: {len(samples)} samples, {tally["boxes"]} '
            f'boxes; {tally["clipped"]} boxes clipped to their image, '
            f'{tally["dropped"]} dropped (not finite, outside or below 1 px)',
            logger='current',
        )
        return samples

    def filter_data(self) -> LineGroups:
        """Apply ``filter_cfg``.

        Returns:
            LineGroups: The samples that are kept, with the lines that are.

        Raises:
            ValueError: If none is.
        """
        if self.test_mode or not self.filter_cfg:
            return self.data_list
        rows = self._file.rows
        sizes = rows['short_side'][rows['first']]
        kept = sizes >= self.filter_cfg.get('min_size', 0)
        if self.filter_cfg.get('filter_empty_gt', False):
            kept &= rows['boxes'] > 0
        samples = self.data_list.keep_lines(kept)
        if not len(samples):
            raise ValueError(
                f'filter_cfg={self.filter_cfg} leaves none of the '
                f'{len(self.data_list)} samples of {self.ann_file}'
            )
        return samples

    def _get_unserialized_subset(
        self, indices: Union[int, Sequence[int]]
    ) -> LineGroups:
        """mmengine's, for samples that are lines and not a list."""
        if isinstance(indices, int):
            return super()._get_unserialized_subset(indices)
        return self.data_list.take(indices)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """One sample; where its image has several lines, one at random.

        Args:
            idx (int): Index of the sample.

        Returns:
            dict: The sample as the class describes it.
        """
        lines = self.data_list[idx]
        chosen = 0
        if len(lines) > 1:
            chosen = np.random.randint(len(lines))
        row = int(lines[chosen])
        record = self._file.read(row)
        text = self._file.parse(record, row)
        # What belongs to the image is told by the first line that names it.
        first = int(self._file.rows['first'][row])
        if first != row:
            record = self._file.read(first)
        prefix = self.data_prefix.get('img', '')
        image = int(self._file.rows['image'][row])
        return {
            'img_path': osp.join(prefix, record['filename']),
            'img_id': record.get('image_id', image),
            'height': record['height'],
            'width': record['width'],
            **text,
            'sample_idx': idx % len(self),
        }
