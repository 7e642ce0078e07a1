"""What ``check_gpu.py`` checks: few functions, all in the table at the end.

Each function takes the command line and settings, and returns figures.
"""

import argparse
import json
import os
import socket
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional
from unittest.mock import patch

import numpy as np
import speed_training
import torch
import torch.nn.functional as F
from mmcv.ops import RoIAlign
from mmdet.datasets import CocoDataset
from mmengine.hooks import Hook
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, RUNNERS
from speed_data import PHOTO_SIZE, measure_loader, write_photos
from torch import Tensor, nn

from harmoclip_mm.apis import load_config
from harmoclip_mm.engine import CheckpointGuard, build_runner, close_launcher
from harmoclip_mm.engine.console import QuietRunner
from harmoclip_mm.models.region_extractors import RoIFeatureExtractor
from harmoclip_mm.models.utils import distributed

Figures = Dict[str, float]
CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
HARMOCLIP = str(CONFIGS / 'harmoclip_vitb16_coco.py')
FINECLIP = str(CONFIGS / 'baselines/fineclip_vitb16_8xb32-10e_coco.py')
REGIONCLIP = str(CONFIGS / 'baselines/regionclip_vitb16_8xb32-10e_coco.py')
DETECTOR = str(CONFIGS / 'ov_detection/fvit_tiny_1xb8-600i_photos.py')
IMAGE_SIZE = 'train_dataloader.dataset.pipeline.3.size'
TINY = dict(
    embed_dim=64,
    quick_gelu=True,
    vision_cfg=dict(
        image_size=64, patch_size=16, width=64, head_width=32, layers=3
    ),
    text_cfg=dict(width=64, heads=2, layers=2),
)
run_numbers = count()


@RUNNERS.register_module(force=True)
class CheckRunner(QuietRunner):
    """A Runner that stays on the CPU where its config says so, and draws the
    same weights for all devices."""

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> Any:
        """Draws weights and moves the model, see mmengine, which would draw
        them on the device."""
        model.init_weights()
        if self.cfg.device == 'cpu' and not self.distributed:
            return revert_sync_batchnorm(model)
        return super().wrap_model(model_wrapper_cfg, model)

    def _init_model_weights(self) -> None:
        """They are there."""


@OPTIM_WRAPPERS.register_module(force=True)
class CPUAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's, which asks for a GPU, on the CPU."""

    def __init__(self, dtype: str, loss_scale: dict, **kwargs: Any) -> None:
        OptimWrapper.__init__(self, **kwargs)
        self._scale_update_param = None
        self.loss_scaler = torch.amp.GradScaler('cpu', **loss_scale)
        self.cast_dtype = getattr(torch, dtype)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Casts as mmengine's does, which knows no float16 on a CPU."""
        cast = torch.autocast('cpu', self.cast_dtype)
        with OptimWrapper.optim_context(self, model), cast:
            yield


class Recorder(Hook):
    """Keeps the losses, and how far the weights have gone."""

    def __init__(self) -> None:
        self.losses: List[Figures] = []

    def before_train(self, runner: Any) -> None:
        """Begins where the weights are."""
        self.start = _weights(runner.model)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any, outputs: Any
    ) -> None:
        """Keeps the losses of a step."""
        self.losses.append({k: v.item() for k, v in outputs.items()})

    def after_train(self, runner: Any) -> None:
        """Ends where the weights are: SGD has summed the gradients up."""
        self.update = _weights(runner.model) - self.start


def _weights(model: nn.Module) -> Tensor:
    trained = [each for each in model.parameters() if each.requires_grad]
    return torch.cat([x.detach().flatten().double().cpu() for x in trained])


def write_coco(folder: Path, photos: int) -> None:
    """Makes photos up, in COCO's layout with linked phrases."""
    images, annotations = folder / 'train2017', folder / 'annotations'
    images.mkdir(parents=True)
    annotations.mkdir()
    write_photos(images, photos, 3)
    phrases = annotations / 'phrases_train2017.jsonl'
    (images / 'photos.jsonl').rename(phrases)
    names = enumerate(CocoDataset.METAINFO['classes'], 1)
    content: Dict[str, list] = dict(images=[], annotations=[])
    content['categories'] = [dict(id=i, name=name) for i, name in names]
    size = dict(zip(('width', 'height'), PHOTO_SIZE))
    for number, text in enumerate(phrases.read_text().splitlines(), 1):
        line = json.loads(text)
        image = dict(size, id=number, file_name=line['filename'])
        content['images'].append(image)
        for region in line['grounding']['regions']:
            x, y, right, bottom = region['bbox']
            box = dict(image_id=number, category_id=1 + number % 2, iscrowd=0)
            box.update(id=len(content['annotations']) + 1)
            box.update(bbox=[x, y, right - x, bottom - y])
            box.update(area=(right - x) * (bottom - y))
            content['annotations'].append(box)
    path = annotations / 'instances_train2017.json'
    path.write_text(json.dumps(content))


def build(
    folder: str,
    config: str,
    options: dict,
    device: str,
    precision: str = 'float32',
    launcher: str = 'none',
    steps: int = 3,
    **loader: Any,
) -> Any:
    """A Runner of a shipped config for a few steps of SGD.

    Its sum of gradients tells a wrong one, which AdamW would hide.
    """
    cfg = load_config(config, options, folder)
    wrapper: Dict[str, Any] = dict(optimizer=dict(type='SGD', lr=0.05))
    if precision != 'float32':
        kind = 'CPUAmpOptimWrapper' if device == 'cpu' else 'AmpOptimWrapper'
        wrapper.update(type=kind, dtype=precision)
        wrapper.update(loss_scale=dict(init_scale=1024.0))
    for phase in ('val', 'test'):
        for part in ('dataloader', 'evaluator', 'cfg'):
            cfg[f'{phase}_{part}'] = None
    cfg.runner_type, cfg.device = 'CheckRunner', device
    cfg.experiment_name = f'check{next(run_numbers)}'
    cfg.log_level, cfg.log_processor = 'WARNING', dict(by_epoch=False)
    cfg.default_hooks.checkpoint = cfg.param_scheduler = None
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps)
    cfg.optim_wrapper = wrapper
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=False)
    few = dict(batch_size=4, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.update({**few, **loader})
    return build_runner(cfg, launcher, CheckpointGuard(False), ('train',))


def train(runner: Any) -> Recorder:
    """Runs a training and tells what it did."""
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    return recorder


def training(
    args: argparse.Namespace,
    config: str = HARMOCLIP,
    what: Optional[dict] = None,
    how: Optional[dict] = None,
    compiled: bool = False,
    **kwargs: Any,
) -> Figures:
    """Three steps beside the same on the CPU in float32.

    Args:
        args (Namespace): The command line.
        config (str): A shipped config.
        what (dict, optional): Its settings.
        how (dict, optional): Settings that change no result; the reference
            goes without.
        compiled (bool): Whether the vision tower is compiled.
        **kwargs: Other arguments of :func:`build`.

    Returns:
        Dict[str, float]: Largest relative difference of a ``loss``, and that
        of the ``update`` of all weights, by norm.
    """
    what = dict(what or {})
    if config != DETECTOR:
        what['clip'] = TINY
    if args.quick and IMAGE_SIZE in what:
        what[IMAGE_SIZE] //= 4
    key = repr((config, what))
    if key not in args.references:
        runner = build(args.folder, config, what, 'cpu')
        args.references[key] = train(runner)
    expected = args.references[key]
    options = {**what, **(how or {})}
    runner = build(args.folder, config, options, args.device, **kwargs)
    if compiled:
        tower = runner.model.backbone
        backend = 'inductor' if args.device == 'cuda' else 'aot_eager'
        tower.encode = torch.compile(tower.encode, backend=backend)
    found = train(runner)
    losses = [
        abs(step[name] - value) / max(abs(value), 1e-6)
        for step, other in zip(found.losses, expected.losses)
        for name, value in other.items()
    ]
    off = (found.update - expected.update).norm() / expected.update.norm()
    # max() would pass over a NaN
    return dict(loss=float(np.max(losses)), update=float(off))


def one_process(args: argparse.Namespace) -> Figures:
    """DistributedDataParallel with one process, and the collectives."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    ranks = dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0')
    ranks.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    with patch.dict(os.environ, ranks):
        try:
            figures = training(args, launcher='pytorch')
            rows = torch.randn(1, 5, 7, device=args.device)
            gathered = distributed._all_gather(rows[0])
            summed = distributed._reduce_scatter(rows.clone())
        finally:
            close_launcher()
    off = (gathered - rows).abs().max() + (summed - rows[0]).abs().max()
    return dict(figures, collectives=float(off))


def roi_align(args: argparse.Namespace, kind: str) -> Figures:
    """Features and gradient of boxes beside torchvision's on the CPU."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(2, 16, 20, 20, generator=generator)
    sides = torch.rand(30, 4, generator=generator) * 200
    image = torch.arange(30)[:, None] % 2
    corners = [sides[:, :2], sides[:, :2] + 8 + sides[:, 2:] / 2]
    rois = torch.cat([image, *corners], 1)
    pools = dict(
        torchvision=RoIFeatureExtractor().pool,
        mmcv=lambda dense, rois, stride: F.normalize(
            RoIAlign(1, 1 / stride)(dense, rois).flatten(1), dim=1
        ),
    )
    results = []
    for name, device in (('torchvision', 'cpu'), (kind, args.device)):
        dense = shared.to(device, copy=True).requires_grad_()
        rows = pools[name](dense, rois.to(device), 16)
        (rows * torch.arange(16, device=device)).sum().backward()
        results.append((rows.detach().cpu(), dense.grad.cpu()))
    (rows, gradient), (found, found_gradient) = results
    return dict(
        features=float((found - rows).norm() / rows.norm()),
        gradient=float((found_gradient - gradient).norm() / gradient.norm()),
    )


def speed(args: argparse.Namespace) -> Figures:
    """Steps in bfloat16 beside open_clip's, see ``benchmark_speed.py``."""
    setting = dict(config=HARMOCLIP, device=args.device, precision='bf16')
    setting.update(batch_size=args.batch_size, clip='', rounds=5, regions=[10])
    setting.update(crop_batch_size=0)
    if args.quick:
        setting.update(batch_size=2, clip=TINY, rounds=1)
    found = speed_training.run(SimpleNamespace(**setting))
    figures = dict(found['ratios'], peak_tflops=found['peak_gflops'] / 1e3)
    for name in ('gc', 'harmoclip_10', 'open_clip'):
        for key in ('images_per_second', 'utilisation', 'peak_mb'):
            if key != 'peak_mb' or args.device == 'cuda':
                figures[f'{name}_{key}'] = found['cases'][name][key]
    return figures


def data_loader(args: argparse.Namespace) -> Figures:
    """A training with 8 workers: which share of it waits for images?"""
    size, workers, steps = (
        (4, 1, 4) if args.quick else (args.batch_size, 8, 30)
    )
    options = dict(clip=TINY) if args.quick else {}
    loader = dict(batch_size=size, num_workers=workers)
    loader.update(persistent_workers=True)
    how = dict(precision='bfloat16', steps=steps)
    where = args.folder, HARMOCLIP, options, args.device
    runner = build(*where, **how, **loader)
    alone = measure_loader(runner.cfg.train_dataloader, workers, steps)
    runner.train()
    waited, took = (
        # workers and kernels start in the first steps
        runner.message_hub.get_scalar(f'train/{name}').data[0][steps // 4 :]
        for name in ('data_time', 'time')
    )
    return dict(
        waiting=float(waited.sum() / took.sum()),
        images_per_second=size / float(took.mean()),
        loader_images_per_second=alone,
    )


class Check(NamedTuple):
    """A row of the table: name, function with its settings, bounds of the
    figures, seconds on a GPU at most, and ``'cuda'`` or mmcv's ``'operators'``
    where it needs them. ``timed`` bounds say nothing of a tiny model."""

    name: str
    run: Callable[[argparse.Namespace], Figures]
    most: Figures
    least: Figures = {}
    seconds: int = 20
    needs: str = ''
    timed: bool = False


def of(function: Callable[..., Figures], **settings: Any) -> partial:
    """A function of a check with its settings."""
    return partial(function, **settings)


# A GPU sums in another order than a CPU, and cudnn convolves in TF32.
EXACT = dict(loss=2e-3, update=0.02)
# bfloat16 keeps 8 bits, and a temperature multiplies the error of a cosine.
ROUGH = dict(loss=0.05, update=0.1)
# Of two proposals that score alike the other one may be kept.
PROPOSALS = dict(loss=0.1, update=0.3)
POOLED = dict(features=1e-4, gradient=1e-4)
BF16, FP16 = dict(precision='bfloat16'), dict(precision='float16')
MICRO = {'model.micro_batch_size': 2}
CP = {'model.backbone.with_cp': True, 'model.text_encoder.with_cp': True}
LARGE = {
    IMAGE_SIZE: 1024,
    'model.backbone.window_size': 8,
    'model.backbone.global_indices': 2,
}
BARE = {'model.init_cfg': None}
FAST, FULL = dict(gc_over_open_clip=0.9), dict(gc_utilisation=0.45)
# fmt: off
CHECKS = (
    Check('fp32', training, EXACT),
    Check('bf16', of(training, **BF16), ROUGH),
    Check('fp16 with scaler', of(training, **FP16), ROUGH),
    Check('crops', of(training, config=FINECLIP), EXACT),
    Check('crops in bf16', of(training, config=FINECLIP, **BF16), ROUGH),
    Check('teacher', of(training, config=REGIONCLIP), EXACT),
    Check('teacher in bf16', of(training, config=REGIONCLIP, **BF16), ROUGH),
    Check('micro-batches', of(training, how=MICRO), EXACT),
    Check('with_cp', of(training, how=CP), EXACT),
    Check('windows at 1024 px', of(training, what=LARGE), EXACT, seconds=60),
    Check('detector', of(training, config=DETECTOR, what=BARE), PROPOSALS,
          seconds=60, needs='operators'),
    Check('RoIAlign, torchvision', of(roi_align, kind='torchvision'), POOLED),
    Check('RoIAlign, mmcv', of(roi_align, kind='mmcv'), POOLED,
          needs='operators'),
    Check('torch.compile', of(training, compiled=True), EXACT, seconds=90),
    Check('speed', speed, FAST, FULL, seconds=100, timed=True),
    Check('data loader', data_loader, dict(waiting=0.05), seconds=60,
          timed=True),
    Check('nccl, one process', one_process, dict(EXACT, collectives=0.0),
          needs='cuda'),
)
# fmt: on
