"""What the data sets of images with texts share: files and bad images."""

import logging
import os.path as osp
from typing import Any, Iterator, Optional, Set

from mmengine.dataset import BaseDataset
from mmengine.fileio import exists
from mmengine.logging import print_log

from harmoclip_mm.errors import DataError, UsageError

from .counters import SharedCounters
from .seeding import seed_for_sample
from .shards import open_shards
from .transforms.clip_resize import CLIPResize
from .transforms.loading import BadImageError, LoadCheckedImage


class BaseImageTextDataset(BaseDataset):
    """Base of data sets whose images come with texts.

    While training, an image that is missing or cannot be decoded is logged
    with its path, counted, and replaced by another random sample, so one bad
    file never ends an epoch. In ``test_mode`` it raises, since a replaced
    image would falsify the metric.

    With a sampler of :mod:`harmoclip_mm.datasets.samplers` all that is random
    in a sample, the replacement of a bad image included, depends on seed,
    epoch and index alone.

    Args:
        *args: Arguments of :class:`mmengine.dataset.BaseDataset`.
        data_prefix (dict): ``img`` is the folder of the file names.
        backend_args (dict, optional): File backend of the annotation file.
        max_refetch (int): Bad samples in a row before training gives up.
        source (str): Name of the data in a mixture, by which the log tells
            its share and losses. Defaults to none.
        **kwargs: Keyword arguments of :class:`mmengine.dataset.BaseDataset`.
    """

    def __init__(
        self,
        *args,
        data_prefix: dict = dict(img=''),  # noqa: B006
        backend_args: Optional[dict] = None,
        max_refetch: int = 100,
        source: str = '',
        **kwargs,
    ) -> None:
        self.backend_args = backend_args
        self.source = source
        self.counters = SharedCounters(
            bad_images='bad images replaced',
            boxes='boxes dropped by the data set',
        )
        self._warned: Set[str] = set()
        self._last_error = 'the pipeline returned no sample'
        super().__init__(
            *args, data_prefix=data_prefix, max_refetch=max_refetch, **kwargs
        )
        self._say_least_size()

    def full_init(self) -> None:
        """Load the annotations, and open the tars where images are in tars."""
        if self._fully_initialized:
            return
        super().full_init()
        for step in self.pipeline.transforms:
            if isinstance(step, LoadCheckedImage):
                for prefix in self.data_prefix.values():
                    open_shards(prefix, step.backend_args)

    def prepare_data(self, idx: int) -> Optional[dict]:
        """Run the pipeline on one sample.

        Returns:
            dict or None: The result of the pipeline; None for a bad image
            while training.

        Raises:
            BadImageError: In ``test_mode``, naming the path and the remedy.
        """
        try:
            sample = self.get_data_info(idx)
            if self.source:
                sample['source'] = self.source
            return self.pipeline(sample)
        except BadImageError as error:
            if self.test_mode:
                raise
            self.counters.add('bad_images')
            self._last_error = str(error)
            if self._last_error not in self._warned:
                self._warned.add(self._last_error)
                print_log(
                    f'Replaced by another sample: {error}',
                    logger='current',
                    level=logging.WARNING,
                )
            return None

    def __getitem__(self, idx: int) -> dict:
        """Sample after the pipeline; a random other one for a bad image.

        Raises:
            DataError: If ``max_refetch + 1`` samples in a row are bad.
        """
        seed_for_sample(idx)
        if self.test_mode or not self._fully_initialized:
            return super().__getitem__(idx)
        for _ in range(self.max_refetch + 1):
            data = self.prepare_data(idx)
            if data is not None:
                return data
            idx = self._rand_another()
        raise DataError(
            f'{self.max_refetch + 1} samples in a row could not be loaded; '
            f'the last one: {self._last_error}. Check data_root='
            f'{self.data_root!r} and data_prefix={dict(self.data_prefix)!r}'
        )

    def _say_least_size(self) -> None:
        """Tell a loader that reduces images what they become later on."""
        steps = self.pipeline.transforms
        sizes = [step.size for step in steps if isinstance(step, CLIPResize)]
        for step in steps:
            if isinstance(step, LoadCheckedImage) and step.reduced:
                if not sizes:
                    raise UsageError(
                        'LoadCheckedImage(reduced=True) reduces images as far '
                        'as a CLIPResize behind it allows, and this pipeline '
                        'has none: add one, or set reduced=False'
                    )
                step.least_size = sizes[0]

    def _sample(self, name: str, image_id: Any, sizes: dict) -> dict:
        """A sample of an image without regions; height and width in px where
        they are among ``sizes``."""
        sample = {
            'img_path': osp.join(self.data_prefix.get('img', ''), name),
            'img_id': image_id,
            'instances': [],
        }
        for key in ('height', 'width'):
            if key in sizes:
                sample[key] = int(sizes[key])
        return sample

    def _require_ann_file(
        self,
        source: str = 'write the file with '
        'tools/dataset_converters/to_odvg.py; our configs look for it where '
        'COCO_PHRASES, else COCO_ROOT, says',
    ) -> None:
        """Raise a DataError with a remedy if there is none."""
        if not exists(self.ann_file, backend_args=self.backend_args):
            raise DataError(
                f'annotation file {osp.abspath(self.ann_file)} does not '
                f'exist. Check ann_file and data_root={self.data_root!r}, or '
                f'{source}'
            )


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """Go through the data sets that read something.

    Args:
        dataset (Any): A data set, or a wrapper with ``dataset`` or
            ``datasets``, which may hold further ones.

    Yields:
        Any: The data sets below, in order; one without a wrapper itself.
    """
    inner = getattr(dataset, 'datasets', None) or [
        getattr(dataset, 'dataset', None)
    ]
    if inner == [None]:
        yield dataset
        return
    for each in inner:
        yield from leaf_datasets(each)
