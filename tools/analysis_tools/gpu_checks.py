"""What ``check_gpu.py`` checks: few functions, all in the table at the end.

Each function takes the command line and settings, and returns figures.
"""

import argparse
import time
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Tuple

import numpy as np
import speed_training
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmcv.ops import RoIAlign
from mmdet.testing import demo_mm_inputs
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, set_random_seed
from speed_data import measure_loader, write_photos
from torch import Tensor, nn

from harmoclip_mm.apis import load_config
from harmoclip_mm.models.region_extractors import RoIFeatureExtractor
from harmoclip_mm.models.utils import distributed
from harmoclip_mm.registry import MODELS

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


def write_coco(folder: Path, photos: int) -> None:
    """Makes photos with linked phrases up, in COCO's layout."""
    images, annotations = folder / 'train2017', folder / 'annotations'
    images.mkdir(parents=True)
    annotations.mkdir()
    write_photos(images, photos, 3)
    phrases = annotations / 'phrases_train2017.jsonl'
    (images / 'photos.jsonl').rename(phrases)


def make_boxes() -> Iterable[dict]:
    """Batches for a detector, as mmdet's tests make them up."""
    while True:
        batch = demo_mm_inputs(4, [(3, 320, 320)] * 4, num_classes=2)
        for sample in batch['data_samples']:
            sample.set_metainfo(dict(text=('dog', 'car')))
        yield batch


def start(
    args: argparse.Namespace, config: str, options: dict, **loader: Any
) -> Tuple[nn.Module, Iterable[dict]]:
    """A model of a shipped config, of the same weights for all devices, and
    the same batches."""
    cfg = load_config(config, options, args.folder)
    init_default_scope(cfg.default_scope)
    set_random_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    model.init_weights()
    if config == DETECTOR:
        return model.train(), make_boxes()
    few = dict(batch_size=4, num_workers=0, persistent_workers=False)
    order = dict(type='InfiniteSampler', shuffle=False)
    cfg.train_dataloader.update({**few, **loader, 'sampler': order})
    return model.train(), Runner.build_dataloader(cfg.train_dataloader, seed=0)


def stepper(model: nn.Module, precision: str) -> Callable[[dict], Figures]:
    """A step of SGD, whose sum of gradients tells a wrong one, which AdamW
    would hide."""
    cfg: Dict[str, Any] = dict(optimizer=dict(type='SGD', lr=0.05))
    if precision != 'float32':
        cfg.update(type='AmpOptimWrapper', dtype=precision)
        cfg.update(loss_scale=dict(init_scale=1024.0))
    wrapper = build_optim_wrapper(model, cfg)

    def step(batch: dict) -> Figures:
        losses = model.train_step(batch, wrapper)
        return {name: value.item() for name, value in losses.items()}

    return step


def train(
    args: argparse.Namespace,
    config: str,
    options: dict,
    device: str,
    precision: str = 'float32',
    compiled: bool = False,
) -> Tuple[List[Figures], Tensor]:
    """Losses of three steps, and how far they took the weights; in a process
    group, where there is one."""
    model, data = start(args, config, options)
    model.to(device)
    if compiled:
        backend = 'inductor' if device == 'cuda' else 'aot_eager'
        tower = model.backbone
        tower.encode = torch.compile(tower.encode, backend=backend)
    before, outer = _weights(model), model
    if dist.is_initialized():
        outer = MMDistributedDataParallel(model)
    step = stepper(outer, precision)
    losses = [step(batch) for batch in islice(data, 3)]
    return losses, _weights(model) - before


def _weights(model: nn.Module) -> Tensor:
    trained = [each for each in model.parameters() if each.requires_grad]
    return torch.cat([x.detach().flatten().double().cpu() for x in trained])


def training(
    args: argparse.Namespace,
    config: str = HARMOCLIP,
    what: Any = None,
    how: Any = None,
    **kwargs: Any,
) -> Figures:
    """Three steps beside the same on the CPU in float32.

    Args:
        args (Namespace): The command line.
        config (str): A shipped config.
        what (dict, optional): Its settings.
        how (dict, optional): Settings that change no result; the reference
            goes without.
        **kwargs: ``precision`` and ``compiled`` of :func:`train`.

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
        args.references[key] = train(args, config, what, 'cpu')
    losses, update = args.references[key]
    options = {**what, **(how or {})}
    found, moved = train(args, config, options, args.device, **kwargs)
    off = [
        abs(step[name] - value) / max(abs(value), 1e-6)
        for step, other in zip(found, losses)
        for name, value in other.items()
    ]
    # max() would pass over a NaN
    moved = float((moved - update).norm() / update.norm())
    return dict(loss=float(np.max(off)), update=moved)


def one_process(args: argparse.Namespace) -> Figures:
    """DistributedDataParallel with one process, and the collectives."""
    training(args)  # the reference is made without a group
    backend = 'nccl' if args.device == 'cuda' else 'gloo'
    alone = dict(store=dist.HashStore(), rank=0, world_size=1)
    dist.init_process_group(backend, **alone)
    try:
        figures = training(args)
        rows = torch.randn(1, 5, 7, device=args.device)
        gathered = distributed._all_gather(rows[0])
        summed = distributed._reduce_scatter(rows.clone())
    finally:
        dist.destroy_process_group()
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
    loader = dict(batch_size=size, num_workers=workers)
    options = dict(clip=TINY) if args.quick else {}
    model, data = start(args, HARMOCLIP, options, **loader)
    cfg = load_config(HARMOCLIP, options, args.folder).train_dataloader
    alone = measure_loader({**cfg, 'batch_size': size}, workers, steps)
    amp = 'bfloat16' if args.device == 'cuda' else 'float32'
    step, batches, times = stepper(model.to(args.device), amp), iter(data), []
    for _ in range(steps):
        begin = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - begin
        step(batch)
        times.append((waited, time.perf_counter() - begin))
    # workers and kernels start in the first steps
    waited, took = np.sum(times[steps // 4 :], axis=0)
    return dict(
        waiting=float(waited / took),
        images_per_second=size * (steps - steps // 4) / float(took),
        loader_images_per_second=alone,
    )


class Check(NamedTuple):
    """A row of the table: name, function with its settings, bounds of the
    figures, and ``'cuda'`` or mmcv's ``'operators'`` where it needs them.
    ``timed`` bounds say nothing of a tiny model."""

    name: str
    run: Callable[[argparse.Namespace], Figures]
    most: Figures
    least: Figures = {}
    needs: str = ''
    timed: bool = False


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
of = partial
# mmengine's mixed precision asks for a GPU.
GPU, OPERATORS = dict(needs='cuda'), dict(needs='operators')
TIMED = dict(timed=True)
# fmt: off
CHECKS = (
    Check('fp32', training, EXACT),
    Check('bf16', of(training, **BF16), ROUGH, **GPU),
    Check('fp16 with scaler', of(training, **FP16), ROUGH, **GPU),
    Check('crops', of(training, config=FINECLIP), EXACT),
    Check('crops in bf16', of(training, config=FINECLIP, **BF16), ROUGH,
          **GPU),
    Check('teacher', of(training, config=REGIONCLIP), EXACT),
    Check('teacher in bf16', of(training, config=REGIONCLIP, **BF16), ROUGH,
          **GPU),
    Check('micro-batches', of(training, how=MICRO), EXACT),
    Check('with_cp', of(training, how=CP), EXACT),
    Check('windows at 1024 px', of(training, what=LARGE), EXACT),
    Check('detector', of(training, config=DETECTOR, what=BARE), PROPOSALS,
          **OPERATORS),
    Check('RoIAlign, torchvision', of(roi_align, kind='torchvision'), POOLED),
    Check('RoIAlign, mmcv', of(roi_align, kind='mmcv'), POOLED, **OPERATORS),
    Check('torch.compile', of(training, compiled=True), EXACT),
    Check('speed', speed, FAST, FULL, **TIMED),
    Check('data loader', data_loader, dict(waiting=0.05), **TIMED),
    Check('nccl, one process', one_process, dict(EXACT, collectives=0.0),
          **GPU),
)
# fmt: on
