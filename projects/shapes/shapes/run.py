"""One run of ``compare.py``: train a config, then evaluate it.

    python -m shapes.run RUN.json

A process of its own, so that a run that fails takes nothing with it. The
schedule is set here and not by the configs: all methods get the same.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import EMAHook
from mmengine.runner import BaseLoop, Runner
from mmengine.utils import digit_version
from torch import Tensor, nn

from harmoclip_mm.apis import load_config
from harmoclip_mm.engine import CheckpointGuard, build_runner
from harmoclip_mm.engine.checkpoint_guard import load_checkpoint_file
from harmoclip_mm.errors import run_command
from harmoclip_mm.models.checkpoints import HEADS, blend_state_dicts
from harmoclip_mm.registry import DATASETS, MODELS

from . import degrade  # noqa: F401  of the variants' pipelines
from .mistakes import count_mistakes
from .plan import SHARES
from .report import collect_figures

TOWERS = ('backbone.', 'text_encoder.', 'logit_scale.')


@DATASETS.register_module()
class RememberedDataset:
    """Keeps each sample of a data set after its first use.

    Args:
        dataset (dict): Config of a data set whose samples depend on their
            index alone, small enough for the memory.
    """

    def __init__(self, dataset: Dict[str, Any]) -> None:
        self.dataset = DATASETS.build(dataset)
        self.metainfo = self.dataset.metainfo
        self.samples: Dict[int, dict] = {}

    def full_init(self) -> None:
        """Load the annotations."""
        self.dataset.full_init()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        if int(index) not in self.samples:
            self.samples[int(index)] = self.dataset[index]
        return self.samples[int(index)]


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


def make_config(spec: Dict[str, Any]) -> Config:
    """The config of a run.

    Args:
        spec (dict): What the JSON file holds: ``config``, ``work_dir``,
            ``options``, ``without``, ``transforms``, ``steps``, ``lr``,
            ``warmup``, ``seed``, ``load_from`` and ``ema_momentum``.

    Returns:
        Config: The config, ready for the runner.
    """
    cfg = load_config(spec['config'], spec['options'], spec['work_dir'])
    for name in spec['without']:
        del cfg.model.heads[name]
    dataset = cfg.train_dataloader.dataset
    if spec['transforms']:
        pipeline = dataset.pipeline
        text_steps = ('ExchangeWords', 'TokenizeRegionText')
        place = min(
            at for at, each in enumerate(pipeline) if each.type in text_steps
        )
        pipeline[place:place] = spec['transforms']
    set_schedule(cfg, spec['steps'], spec['lr'], spec['warmup'])
    if spec['load_from'] is None:
        # of a start many epochs long, whose samples never change
        kept = dict(type='RememberedDataset', dataset=dataset)
        cfg.train_dataloader.dataset = dict(type='SeededDataset', dataset=kept)
    else:
        cfg.custom_hooks = [
            *cfg.get('custom_hooks', []),
            dict(type='EMAHook', momentum=spec['ema_momentum']),
        ]
    cfg.test_evaluator = cfg.val_evaluator = [
        each
        for each in cfg.val_evaluator
        if each.type in ('BoxClassificationMetric', 'ImageTextRetrievalMetric')
    ]
    cfg.load_from = spec['load_from']
    cfg.randomness = dict(seed=spec['seed'])
    return cfg


class Evaluation:
    """Boxes and retrieval on the images of a split, loaded once.

    Args:
        runner (Runner): Whose model is evaluated.
        loop (BaseLoop): Its loop over the images of the split.
    """

    def __init__(self, runner: Runner, loop: BaseLoop) -> None:
        self.model, self.evaluator = runner.model, loop.evaluator
        self.evaluator.dataset_meta = loop.dataloader.dataset.metainfo
        self.images = len(loop.dataloader.dataset)
        self.batches = list(loop.dataloader)

    @torch.no_grad()
    def __call__(self) -> Dict[str, Any]:
        """Evaluate the model as it is.

        Returns:
            dict: Figures in percent, and ``mistakes``, what is said of the
            novel boxes.
        """
        self.model.eval()
        mistakes = np.zeros(4, dtype=int)
        classes = self.evaluator.dataset_meta
        for batch in self.batches:
            samples = self.model.test_step(batch)
            mistakes += count_mistakes(samples, classes)
            self.evaluator.process(data_samples=samples, data_batch=batch)
        metrics = self.evaluator.evaluate(self.images)
        figures = {
            name: round(value, 4)
            for name, value in collect_figures(metrics).items()
        }
        return {**figures, 'mistakes': mistakes.tolist()}


def blends(
    model: nn.Module, start: str, ema: Dict[str, Tensor]
) -> Iterator[str]:
    """Give a model the weights of each point of its curve, one by one.

    Args:
        model (nn.Module): After its training.
        start (str): Checkpoint that it began with, share 0.
        ema (dict): Averaged weights.

    Yields:
        str: Share of the trained weights, or ``'ema'``.
    """
    initial = load_checkpoint_file(start)['state_dict']
    trained = copy.deepcopy(model.state_dict())
    for share in SHARES[1:]:
        shares = dict.fromkeys(TOWERS, share)
        model.load_state_dict(blend_state_dicts(initial, trained, shares))
        yield f'{share:g}'
    model.load_state_dict(ema)
    yield 'ema'


def evaluate(
    runner: Runner, spec: Dict[str, Any], ema: Optional[Dict[str, Tensor]]
) -> Dict[str, Dict[str, Any]]:
    """Evaluate a run on both splits.

    Args:
        runner (Runner): After its training.
        spec (dict): What the JSON file holds.
        ema (dict, optional): Averaged weights; None for a start.

    Returns:
        dict: For ``val`` and ``test``, figures by point of the curve. A
        start has one, ``'0'``, with the classes of the boxes' crops too.
    """
    splits: List[Tuple[str, Evaluation]] = [
        ('val', Evaluation(runner, runner.val_loop)),
        ('test', Evaluation(runner, runner.test_loop)),
    ]
    points: Dict[str, Dict[str, Any]] = {name: {} for name, _ in splits}
    if ema is not None:
        for point in blends(runner.model, spec['load_from'], ema):
            for name, evaluation in splits:
                points[name][point] = evaluation()
        return points
    model = runner.model
    extractor = model.region_extractor
    crops = dict(type='CropFeatureExtractor', context=spec['crop_context'])
    for name, evaluation in splits:
        points[name]['0'] = evaluation()
        model.region_extractor = MODELS.build(crops)
        points[name]['0']['crop_top1'] = evaluation()['box_top1']
        model.region_extractor = extractor
    return points


def main() -> None:
    """Train, evaluate, write ``figures.json``."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        'run', type=Path, help='JSON file that compare.py wrote'
    )
    spec = json.loads(parser.parse_args().run.read_text())
    runner = build_runner(
        make_config(spec),
        'none',
        CheckpointGuard(strict=False, optional=HEADS),
    )
    runner.train()
    times = runner.message_hub.get_scalar('train/time').data[0]
    averages = [h for h in runner.hooks if isinstance(h, EMAHook)]
    ema = averages[0].ema_model.module.state_dict() if averages else None
    figures = {
        'seconds_per_step': round(float(np.median(times)), 4),
        'device': get_device(),
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        **evaluate(runner, spec, ema),
    }
    path = Path(spec['work_dir']) / 'figures.json'
    path.write_text(json.dumps(figures) + '\n')


if __name__ == '__main__':
    run_command(main)
