"""Images whose regions are described by phrases of a caption."""

import os.path as osp

import numpy as np
from mmengine.dataset import force_full_init
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from harmoclip_mm.errors import DataError, check_choice
from harmoclip_mm.registry import DATASETS

from .base import BaseImageTextDataset
from .odvg import OdvgFile


@DATASETS.register_module()
class RegionPhraseDataset(BaseImageTextDataset):
    """Regions with phrases, from ODVG lines.

    Samples are those of mmdet's ``ODVGDataset``: ``img_path``, ``img_id``,
    ``height``, ``width`` (px), ``text`` (the caption, '' if none), ``phrases``
    (dict: label to a dict with ``phrase``, str, and ``tokens_positive``, its
    list of ``[start, end)`` character spans in the caption, empty if the
    phrase is a text of its own) and ``instances`` (``bbox`` xyxy in px,
    ``bbox_label``, ``ignore_flag`` 0). Images without regions are legal. Where
    regions of a line have a ``score``, the confidence of their link in [0, 1],
    ``gt_scores`` (float32, one for each instance) is added, 1 where a region
    has none.

    Grounding lines give captions with linked phrases. A region without
    ``tokens_positive`` is looked up in its caption: the first place where its
    phrase stands as whole words; with an empty list it is a text of its own.
    Detection lines are given a caption that lists their categories. Boxes are
    clipped to the image and dropped below 1 px; one line of the log sums up
    how many.

    The file is read through once, which checks every line; an index is left
    beside it, or in ``~/.cache`` where that is read-only. From then on it
    opens at once, a line is parsed when its sample is asked for, and a changed
    file is indexed anew. See :class:`IndexedFiles` for other file backends.

    Args:
        ann_file (str): ODVG jsonl file, relative to ``data_root``.
        caption_choice (str): What to do with several lines of one image:
            ``'random'`` makes one sample of an image and draws one of its
            lines at each access, so that an epoch shows each image once and
            no batch holds an image twice; ``'all'`` makes every line a
            sample.
        data_root (str): Folder of ``ann_file`` and of the images.
        data_prefix (dict): ``img`` is the folder of the file names.
        filter_cfg (dict, optional): ``filter_empty_gt=True`` drops samples
            without boxes, ``min_size`` drops images whose shorter side is
            below so many px. Without effect in ``test_mode``.
        **kwargs: See :class:`BaseImageTextDataset`; ``serialize_data`` is
            without effect.

    Raises:
        DataError: If the annotation file is missing, malformed (naming file
            and line) or holds no samples.
    """

    CAPTION_CHOICES = ('random', 'all')

    def __init__(
        self, *args, caption_choice: str = 'random', **kwargs
    ) -> None:
        name, choices = type(self).__name__, self.CAPTION_CHOICES
        check_choice(name, 'caption_choice', caption_choice, choices)
        self.caption_choice = caption_choice
        # Lines stay in their file: there is nothing to serialize.
        kwargs['serialize_data'] = False
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> np.ndarray:
        """Open the ODVG file by its index and apply ``filter_cfg``.

        Returns:
            np.ndarray: The samples. Sample i draws from those rows of the file
            that ``_lines[_bounds[i]:_bounds[i + 1]]`` names: arrays, so that
            any number of samples takes little memory.
        """
        self._require_ann_file()
        self._file = OdvgFile(self.ann_file, self.backend_args)
        rows = self._file.rows
        kept = np.ones(len(rows), dtype=bool)
        if self.filter_cfg and not self.test_mode:
            kept &= rows['short_side'] >= self.filter_cfg.get('min_size', 0)
            if self.filter_cfg.get('filter_empty_gt', False):
                kept &= rows['boxes'] > 0
        lines = np.flatnonzero(kept)
        if not len(lines):
            raise DataError(
                f'{self.ann_file} holds no samples: of its {len(rows)} lines '
                f'filter_cfg={self.filter_cfg} leaves none'
            )
        each = self.caption_choice == 'all'
        images = lines if each else rows['image'][lines]
        order = np.argsort(images, kind='stable')
        starts = np.unique(images[order], return_index=True)[1]
        self._lines, self._bounds = lines[order], np.append(starts, len(lines))
        boxes, clipped, dropped = (
            rows[key].sum(dtype=int) for key in ('boxes', 'clipped', 'dropped')
        )
        if is_main_process():  # all processes read the same file
            self.counters.add('boxes', dropped)
        print_log(
            f'{self.ann_file}: {len(starts)} samples of {len(rows)} lines '
            f'with {boxes + dropped} boxes, one for each phrase of a box; '
            f'{clipped} clipped to their image, {dropped} dropped (not '
            'finite, outside or below 1 px)',
            logger='current',
        )
        return np.arange(len(starts))

    @property
    @force_full_init
    def draws_lines(self) -> bool:
        """Whether images have several lines, of which a sample is one,
        another each time."""
        return len(self._lines) >= len(self._bounds)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """One sample; where its image has several lines, one at random."""
        sample = self.data_list[idx]
        lines = self._lines[self._bounds[sample] : self._bounds[sample + 1]]
        row = lines[np.random.randint(len(lines)) if len(lines) > 1 else 0]
        info = self._file.read(row)
        image_id, name = info.pop('image_id'), info.pop('filename')
        if image_id is None:
            image_id = int(self._file.rows['image'][row])
        info.update(
            img_path=osp.join(self.data_prefix.get('img', ''), name),
            img_id=image_id,
            sample_idx=idx % len(self),
        )
        return info
