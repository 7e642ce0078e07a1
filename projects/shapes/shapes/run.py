"""One run of ``compare.py``: train a config, then evaluate it.

    python -m shapes.run RUN.json

A process of its own, so that a run that fails takes nothing with it. The
schedule is set here and not by the configs: all methods get the same.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import BaseLoop, Runner
from mmengine.utils import digit_version
from torch import nn

from harmoclip_mm.apis import load_config
from harmoclip_mm.engine import CheckpointGuard, build_runner
from harmoclip_mm.engine.checkpoint_guard import load_checkpoint_file
from harmoclip_mm.errors import run_command
from harmoclip_mm.evaluation import save_metrics
from harmoclip_mm.models.checkpoints import HEADS, blend_state_dicts
from harmoclip_mm.registry import MODELS

from . import degrade  # noqa: F401  of the variants' pipelines
from .report import collect_figures

# Points of a loss curve that are kept.
CURVE_POINTS = 40


def set_schedule(cfg: Config, steps: int, lr: float, warmup: int) -> None:
    """Train by steps: linear warm-up, then a cosine to 0."""
    cfg.train_cfg = dict(
        type='IterBasedTrainLoop',
        # evaluated after the training, outside its loop
        max_iters=steps,
        val_begin=10**9,
    )
    cfg.train_dataloader.sampler = dict(
        type='ResumableInfiniteSampler', shuffle=True
    )
    cfg.optim_wrapper.optimizer.lr = lr
    # The embedding of 49408 tokens is most of a tiny model: one kernel
    # instead of a dozen passes over it. On CPUs torch 2.4 and later have it.
    cfg.optim_wrapper.optimizer.fused = digit_version(
        torch.__version__
    ) >= digit_version('2.4')
    warmup = min(warmup, steps // 4)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.02, by_epoch=False, end=warmup),
        dict(
            type='CosineAnnealingLR',
            by_epoch=False,
            begin=warmup,
            end=steps,
            T_max=steps - warmup,
        ),
    ]
    if not warmup:
        del cfg.param_scheduler[0]
    cfg.log_processor = dict(by_epoch=False, window_size=10)
    cfg.default_hooks.logger.interval = max(1, min(10, steps // 4))
    cfg.default_hooks.checkpoint.update(
        by_epoch=False,
        interval=10**9,
        save_last=True,
        save_optimizer=False,
        save_param_scheduler=False,
    )


def set_evaluation(cfg: Config) -> None:
    """Evaluate boxes and retrieval on both splits, after the training."""
    cfg.test_evaluator = cfg.val_evaluator = [
        each
        for each in cfg.val_evaluator
        if each.type in ('BoxClassificationMetric', 'ImageTextRetrievalMetric')
    ]


def make_config(spec: Dict[str, Any]) -> Config:
    """The config of a run.

    Args:
        spec (dict): What the JSON file holds: ``config``, ``work_dir``,
            ``options``, ``without``, ``transforms``, ``steps``, ``lr``,
            ``warmup``, ``seed`` and ``load_from``.

    Returns:
        Config: The config, ready for the runner.
    """
    cfg = load_config(spec['config'], spec['options'], spec['work_dir'])
    for name in spec['without']:
        del cfg.model.heads[name]
    pipeline = cfg.train_dataloader.dataset.pipeline
    (place,) = [
        index
        for index, each in enumerate(pipeline)
        if each.type == 'TokenizeRegionText'
    ]
    pipeline[place:place] = spec['transforms']
    set_schedule(cfg, spec['steps'], spec['lr'], spec['warmup'])
    set_evaluation(cfg)
    cfg.load_from = spec['load_from']
    cfg.randomness = dict(seed=spec['seed'])
    return cfg


def collect_curves(work_dir: Path) -> Dict[str, List[float]]:
    """Losses by step, thinned out."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = logs[-1].read_text().splitlines()
    records = [json.loads(line) for line in lines]
    records = [each for each in records if 'loss' in each]
    chosen = np.linspace(0, len(records) - 1, CURVE_POINTS).round()
    records = [records[i] for i in np.unique(chosen.astype(int))]
    names = [key for key in records[0] if key.startswith('loss')]
    curves = {'step': [each['step'] for each in records]}
    for name in names:
        curves[name] = [round(each[name], 4) for each in records]
    return curves


def evaluate(
    runner: Runner, loop: BaseLoop, crop_context: float, modes: bool
) -> Dict[str, float]:
    """Evaluate boxes by RoI features and by crops, and retrieval.

    Args:
        runner (Runner): After its training.
        loop (BaseLoop): Its loop over the images of a split.
        crop_context (float): Factor by which boxes grow before the crop.
        modes (bool): Whether the other modes of the classifier are wanted.

    Returns:
        dict: Figures in percent.
    """
    metrics = loop.run()
    figures = collect_figures(metrics)
    model = runner.model
    classifier = model.predictors['boxes'].classifier
    if modes:
        for mode in ('lexeme', 'both'):
            classifier.mode = mode
            metrics = loop.run()
            figures[f'box_top1_{mode}'] = metrics['box_cls/top1']
            figures[f'box_top1_novel_{mode}'] = metrics['box_cls/novel_top1']
        classifier.mode = 'eot'
    extractor = model.region_extractor
    model.region_extractor = MODELS.build(
        dict(type='CropFeatureExtractor', context=crop_context)
    )
    metrics = loop.run()
    model.region_extractor = extractor
    figures['crop_top1'] = metrics['box_cls/top1']
    figures['crop_top1_novel'] = metrics['box_cls/novel_top1']
    return figures


def measure(runner: Runner, spec: Dict[str, Any], ending: str) -> None:
    """Write the figures of both splits.

    Args:
        runner (Runner): After its training.
        spec (dict): What the JSON file holds.
        ending (str): Of the files' names.
    """
    for split, loop in (('val', runner.val_loop), ('test', runner.test_loop)):
        figures = evaluate(runner, loop, spec['crop_context'], spec['modes'])
        path = Path(spec['work_dir']) / f'figures_{split}{ending}.json'
        save_metrics(figures, str(path))


def blend_with_start(model: nn.Module, start: str, share: float) -> None:
    """Move the weights of a model back towards its start, in place.

    Args:
        model (nn.Module): After its training.
        start (str): Checkpoint that it began with.
        share (float): Share of the trained weights, in [0, 1].
    """
    initial = load_checkpoint_file(start)['state_dict']
    shares = {
        'backbone.': share,
        'text_encoder.': share,
        'logit_scale.': share,
    }
    model.load_state_dict(
        blend_state_dicts(initial, model.state_dict(), shares)
    )


def main() -> None:
    """Train, evaluate, write ``figures_SPLIT.json`` and ``about.json``."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        'run', type=Path, help='JSON file that compare.py wrote'
    )
    spec = json.loads(parser.parse_args().run.read_text())
    work_dir = Path(spec['work_dir'])
    cfg = make_config(spec)
    runner = build_runner(
        cfg,
        'none',
        CheckpointGuard(strict=False, optional=HEADS),
    )
    runner.train()
    times = runner.message_hub.get_scalar('train/time').data[0]
    measure(runner, spec, '')
    if spec['blend'] is not None:
        blend_with_start(runner.model, spec['load_from'], spec['blend'])
        measure(runner, spec, '_blended')
    about = {
        'seconds_per_step': round(float(np.median(times)), 4),
        'device': get_device(),
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'curves': collect_curves(work_dir),
    }
    (work_dir / 'about.json').write_text(json.dumps(about) + '\n')


if __name__ == '__main__':
    run_command(main)
