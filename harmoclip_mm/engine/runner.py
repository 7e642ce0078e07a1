"""From a config to a Runner that loads checkpoints safely, and says on the
terminal what a person reads or acts on. The log file has everything.
"""

import ctypes
import logging
import os.path as osp
import signal
import sys
import warnings
from functools import partial
from typing import Any, Callable, Optional, Sequence

import mmengine.runner.runner
import pycocotools.coco
import pycocotools.cocoeval
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.checkpoint import _load_checkpoint
from torch.utils.data import DataLoader

from harmoclip_mm.datasets import check_annotations
from harmoclip_mm.errors import UsageError

from .checkpoint_guard import CheckpointGuard, use_safe_loading
from .launch import setup_launcher

# Starts of mmengine's messages that fill pages: environment, config, hooks,
# and a line for each weight; and of those that repeat what a command says.
DUMPS = (
    *('\n-----', 'Config:\n', 'Hooks will be executed', 'paramwise_options'),
    'Distributed training is not used, all SyncBatchNorm',
    *('Loads checkpoint by', 'Results has been saved to', 'Exp name: '),
    *('bbox_mAP_copypaste', 'segm_mAP_copypaste'),
    # of mmengine about itself
    *('"FileClient" will be', '"HardDiskBackend" is the alias'),
)


def is_no_dump(record: logging.LogRecord) -> bool:
    """Whether a message belongs on the terminal."""
    text = record.getMessage()
    skipped = text.endswith('is skipped since its requires_grad=False')
    return not (skipped or text.startswith(DUMPS))


def quieten_libraries() -> None:
    """Let pycocotools print no more than its table of AP, mmengine log how it
    loads checkpoints in place of printing it, and torch not advise fewer
    workers than a config has on a machine of few cores."""
    pycocotools.coco.print = lambda *args, **kwargs: None
    pycocotools.cocoeval.print = _print_table
    mmengine.runner.runner._load_checkpoint = partial(
        _load_checkpoint, logger='current'
    )
    warnings.filterwarnings('ignore', 'This DataLoader will create')


def _print_table(text: str) -> None:
    """Print if it is a row of COCO's table."""
    if text.startswith(' Average'):
        print(text)


class QuietRunner(Runner):
    """mmengine's Runner, whose dumps go to the log file alone, which refuses
    a training without a step, and which leaves no workers when killed."""

    @staticmethod
    def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader:
        """Build a loader, see mmengine."""
        loader = Runner.build_dataloader(*args, **kwargs)
        start = loader.worker_init_fn
        loader.worker_init_fn = partial(_start_worker, start)
        return loader

    def build_train_loop(self, loop: Any) -> BaseLoop:
        """Build the loop, see mmengine.

        Raises:
            UsageError: If a batch is larger than the data set, or the loop
                does not take a setting.
        """
        try:
            loop = super().build_train_loop(loop)
        except TypeError as error:
            names = [
                name for name in loop if f"argument '{name}'" in str(error)
            ]
            if not names:
                raise
            raise UsageError(
                f'train_cfg.{names[0]} is no setting of this loop ({error}): '
                'leave it out, or name another loop by train_cfg.type'
            ) from error
        steps, size = len(loop.dataloader), len(loop.dataloader.dataset)
        if not steps:
            raise UsageError(
                f'a batch of {loop.dataloader.batch_size} is more than the '
                f'{size} samples of a process, so that an epoch has no step: '
                'lower train_dataloader.batch_size'
            )
        text = outlasting_warm_up(
            self.cfg.get('param_scheduler'), steps, loop.max_iters
        )
        if text:
            self.logger.warning(text[0].upper() + text[1:])
        return loop

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, see mmengine."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(is_no_dump)
        return logger


def _start_worker(start: Optional[Callable], number: int) -> None:
    """Let a worker end with the process that it loads for.

    Torch's end by themselves when that is killed, but not before their
    batches are sent: what does not fit into the pipe waits for ever.
    """
    if sys.platform == 'linux':
        pr_set_pdeathsig = 1  # of linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if start is not None:
        start(number)


def outlasting_warm_up(schedulers: Any, steps: int, total: int) -> str:
    """Say whether a warm-up outlasts its training.

    Returns:
        str: A sentence; empty if it does not.
    """
    if isinstance(schedulers, dict):
        schedulers = [schedulers]
    for each in schedulers or ():
        if not isinstance(each, dict) or 'Linear' not in str(each['type']):
            continue
        end = each.get('end', 0) * (steps if each.get('by_epoch', True) else 1)
        if each.get('start_factor', 1 / 3) < 1 and end >= total:
            return (
                f'the warm-up of {end} steps outlasts the training of {total} '
                'steps: lower `end` of the LinearLR in param_scheduler'
            )
    return ''


class SummaryHook(Hook):
    """Say at the start in one line what runs, on what and over how much."""

    def before_train(self, runner: Runner) -> None:
        """Tell the start of a training."""
        self._say(runner, runner.train_dataloader, 'Training')

    def before_test(self, runner: Runner) -> None:
        """Tell the start of a test."""
        self._say(runner, runner.test_dataloader, 'Testing')

    @staticmethod
    def _say(runner: Runner, loader: DataLoader, verb: str) -> None:
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        spec = getattr(model, 'spec', None)
        weights = list(model.parameters())
        trained = sum(each.numel() for each in weights if each.requires_grad)
        size = f'{sum(each.numel() for each in weights) / 1e6:.1f} M weights'
        if verb == 'Training':
            size += f', {trained / 1e6:.1f} M of them trained'
        batch = getattr(loader.batch_sampler, 'batch_size', loader.batch_size)
        log = osp.join(runner.log_dir, f'{runner.timestamp}.log')
        runner.logger.info(
            f'{verb} {type(model).__name__}'
            f'{f" with the CLIP {spec.name}" if spec else ""} on '
            f'{get_world_size()} x {weights[0].device.type}: {size}; batches '
            f'of {batch} from {len(loader.dataset)} samples; config, '
            f'environment and hooks are in {log}'
        )


def build_runner(
    cfg: Config,
    launcher: str,
    guard: CheckpointGuard,
    phases: Sequence[str] = ('train', 'val'),
) -> Runner:
    """Set up the processes and build the Runner of a config.

    The annotation files of the data sets that will be read are checked
    first, before anything is built that takes time.

    Args:
        cfg (Config): The config, into which settings of the launcher are
            written.
        launcher (str): As for :func:`setup_launcher`.
        guard (CheckpointGuard): What decides which checkpoints fit.
        phases (Sequence[str]): What the Runner will do: ``'train'`` and
            ``'val'``, or ``'test'``. Defaults to a training.

    Returns:
        Runner: The Runner, with the guard among its hooks.

    Raises:
        UsageError: If the launcher's environment is missing, or the config
            has no model or no data, or asks for another Runner.
        DataError: If annotations do not fit their data set.
    """
    for key in ('model', f'{phases[0]}_dataloader'):
        if not cfg.get(key):
            raise UsageError(f'config {cfg.filename} has no {key}')
    if 'runner_type' in cfg:
        raise UsageError(
            f'config {cfg.filename} asks for {cfg.runner_type!r}, but runs '
            "are of mmengine's Runner alone: leave out runner_type"
        )
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    quieten_libraries()
    for phase in phases:
        loader = cfg.get(f'{phase}_dataloader') or {}
        evaluator = cfg.get(f'{phase}_evaluator') or ()
        check_annotations(loader.get('dataset') or {}, evaluator)
    use_safe_loading()
    setup_launcher(cfg, launcher)
    runner = QuietRunner.from_cfg(cfg)
    runner.register_hook(guard)
    runner.register_hook(SummaryHook())
    return runner
