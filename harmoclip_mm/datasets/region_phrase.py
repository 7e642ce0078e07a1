"""Images whose regions are described by phrases of a caption."""

import os.path as osp
from collections import Counter
from typing import Dict, List

import numpy as np
from mmengine.fileio import get_local_path
from mmengine.logging import print_log

from harmoclip_mm.registry import DATASETS

from .base import BaseImageTextDataset
from .odvg import iter_odvg, parse_odvg_record

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
        **kwargs: See :class:`BaseImageTextDataset`.

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
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix,
            **kwargs,
        )

    def load_data_list(self) -> List[dict]:
        """Read the ODVG file.

        Returns:
            list[dict]: The samples; one with several lines has them under
            ``lines`` until :meth:`get_data_info` draws one.
        """
        self._require_ann_file()
        tally: Counter = Counter()
        images: Dict[str, dict] = {}
        data_list = []
        with get_local_path(
            self.ann_file, backend_args=self.backend_args
        ) as path:
            for where, record in iter_odvg(path):
                # Messages name the file as the user knows it.
                where = where.replace(path, self.ann_file, 1)
                text = parse_odvg_record(record, where, tally)
                name = record['filename']
                image = images.get(name)
                if image is None:
                    image = self._image_info(record, len(images))
                    images[name] = image
                    known = False
                else:
                    known = True
                if self.caption_choice == 'all':
                    data_list.append({**image, **text})
                elif not known:
                    image['lines'] = [text]
                    data_list.append(image)
                elif self.caption_choice == 'random':
                    image['lines'].append(text)
        if not data_list:
            raise ValueError(f'{self.ann_file} holds no samples')
        self._log_summary(data_list, tally)
        return data_list

    def _image_info(self, record: dict, ordinal: int) -> dict:
        prefix = self.data_prefix.get('img', '')
        return {
            'img_path': osp.join(prefix, record['filename']),
            'img_id': record.get('image_id', ordinal),
            'height': record['height'],
            'width': record['width'],
        }

    def _log_summary(self, data_list: List[dict], tally: Counter) -> None:
        print_log(
            f'{self.ann_file}: {len(data_list)} samples, {tally["boxes"]} '
            f'boxes; {tally["clipped"]} boxes clipped to their image, '
            f'{tally["dropped"]} dropped (not finite, outside or below 1 px)',
            logger='current',
        )

    def filter_data(self) -> List[dict]:
        """Apply ``filter_cfg``.

        Returns:
            list[dict]: The samples that are kept.

        Raises:
            ValueError: If none is.
        """
        if self.test_mode or not self.filter_cfg:
            return self.data_list
        min_size = self.filter_cfg.get('min_size', 0)
        kept = []
        for info in self.data_list:
            if min(info['width'], info['height']) < min_size:
                continue
            if self.filter_cfg.get('filter_empty_gt', False):
                if 'lines' in info:
                    lines = [x for x in info['lines'] if x['instances']]
                    info = {**info, 'lines': lines}
                if not info.get('lines', info.get('instances')):
                    continue
            kept.append(info)
        if not kept:
            raise ValueError(
                f'filter_cfg={self.filter_cfg} leaves none of the '
                f'{len(self.data_list)} samples of {self.ann_file}'
            )
        return kept

    def get_data_info(self, idx: int) -> dict:
        """One sample; where its image has several lines, one at random.

        Args:
            idx (int): Index of the sample.

        Returns:
            dict: The sample as the class describes it.
        """
        info = super().get_data_info(idx)
        lines = info.pop('lines', None)
        if lines is not None:
            chosen = 0
            if len(lines) > 1:
                chosen = np.random.randint(len(lines))
            info.update(lines[chosen])
        return info
