"""Pictures of the predictions of a test."""

import copy
import os.path as osp
from collections import Counter
from typing import Any, Sequence

from mmcv.transforms import LoadImageFromFile
from mmdet.structures import DetDataSample
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from harmoclip_mm.datasets.base import leaf_datasets
from harmoclip_mm.datasets.transforms import LoadCheckedImage
from harmoclip_mm.registry import HOOKS


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Draws the predictions of every test image into a folder.

    The photo is decoded as the data set decodes it. mmdet's
    ``DetVisualizationHook`` turns every photo by its EXIF data, also where
    boxes are those of the photo as stored, and of two images of one name
    keeps the last. Images of one name are numbered.

    Args:
        out_dir (str): The folder.
        score_thr (float): Boxes of lower probability are left out. Defaults
            to 0.
    """

    def __init__(self, out_dir: str, score_thr: float = 0.0) -> None:
        self.out_dir = out_dir
        self.score_thr = score_thr
        self._images: Counter = Counter()  # of a name
        self._drawn: Counter = Counter()

    def before_test(self, runner: Runner) -> None:
        """Count the names of the images, as far as the data tell them."""
        every = runner.test_dataloader.dataset
        self._loader = _loader(every)
        # mmengine tells class names to the visualizer of the first process
        runner.visualizer._dataset_meta = getattr(every, 'metainfo', None)
        for dataset in leaf_datasets(every):
            if hasattr(dataset, 'get_data_info'):
                self._images.update(
                    osp.basename(dataset.get_data_info(index)['img_path'])
                    for index in range(len(dataset))
                )

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[DetDataSample] = (),
    ) -> None:
        """Draw the samples of a batch."""
        for sample in outputs:
            loaded = self._loader.transform(dict(img_path=sample.img_path))
            image = loaded['img'][..., ::-1]
            name = osp.basename(sample.img_path)
            before = self._drawn[name]
            self._drawn[name] += 1
            if before or self._images[name] > 1:
                # processes take turns, as they do in the data set
                number = before * get_world_size() + get_rank()
                stem, end = osp.splitext(name)
                name = f'{stem}_{number + 1}{end}'
            runner.visualizer.add_datasample(
                name,
                image,
                data_sample=sample,
                # annotated boxes alone are those of the network input
                draw_gt='pred_instances' in sample,
                pred_score_thr=self.score_thr,
                out_file=osp.join(self.out_dir, name),
            )


def _loader(dataset: Any) -> LoadImageFromFile:
    """The step by which a data set, or the first that it wraps, loads its
    images; all of each, in 8 bits."""
    steps = getattr(next(leaf_datasets(dataset)), 'pipeline', None)
    for step in getattr(steps, 'transforms', ()):
        if isinstance(step, LoadImageFromFile):
            loader = copy.copy(step)
            loader.least_size, loader.to_float32 = None, False
            return loader
    return LoadCheckedImage()
