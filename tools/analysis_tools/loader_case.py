"""The data loader alone, on photos that are made up."""

import copy
import json
import time
from itertools import islice
from pathlib import Path
from typing import Dict

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner
from training_cases import draw_sample

PHOTO_SIZE = (640, 480)  # the commonest of COCO


def write_photos(folder: Path, number: int) -> None:
    """Write JPEGs and an ODVG file of 10 regions an image.

    Args:
        folder (Path): Where to.
        number (int): Photos.
    """
    rng = np.random.RandomState(0)
    lines = []
    for index in range(number):
        sample = draw_sample(rng, PHOTO_SIZE, 10)
        # Soft shades and a little noise: about the size of a photo's file.
        shades = rng.randint(0, 256, (30, 40, 3), dtype=np.uint8)
        photo = cv2.resize(shades, PHOTO_SIZE, interpolation=cv2.INTER_CUBIC)
        noise = rng.randint(0, 12, photo.shape, dtype=np.uint8)
        name = f'{index:06d}.jpg'
        cv2.imwrite(str(folder / name), cv2.add(photo, noise))
        regions = [
            dict(
                bbox=bbox.tolist(),
                phrase=sample['phrases'][label],
                tokens_positive=sample['tokens_positive'][label],
            )
            for bbox, label in zip(
                sample['gt_bboxes'].tensor, sample['gt_bboxes_labels']
            )
        ]
        width, height = PHOTO_SIZE
        line = dict(filename=name, height=height, width=width)
        line['grounding'] = dict(caption=sample['caption'], regions=regions)
        lines.append(json.dumps(line))
    (folder / 'photos.jsonl').write_text('\n'.join(lines) + '\n')


def time_loader(
    cfg: Config, folder: Path, number: int, workers: int
) -> Dict[str, float]:
    """Draw images from the config's data loader.

    Args:
        cfg (Config): Config with ``train_dataloader`` of
            ``RegionPhraseDataset``.
        folder (Path): Where photos may be written.
        number (int): Images to draw after the first batch, about.
        workers (int): Worker processes.

    Returns:
        Dict[str, float]: ``workers`` and ``images_per_second`` after
        the first batch.
    """
    write_photos(folder, number=64)
    loader = copy.deepcopy(cfg.train_dataloader)
    batch_size = max(min(loader.batch_size, number // 4), 1)
    loader.update(
        batch_size=batch_size,
        num_workers=workers,
        persistent_workers=False,
        sampler=dict(type='InfiniteSampler', shuffle=True),
    )
    loader.dataset.update(
        data_root=str(folder),
        ann_file='photos.jsonl',
        data_prefix=dict(img=''),
    )
    batches = iter(Runner.build_dataloader(loader, seed=0))
    next(batches)  # workers start
    start = time.perf_counter()
    images = sum(
        len(batch['inputs'])
        for batch in islice(batches, max(number // batch_size, 1))
    )
    seconds = time.perf_counter() - start
    return dict(workers=workers, images_per_second=images / seconds)
