#!/usr/bin/env python
"""Train a model from a config file."""

import argparse
import os

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from mmengine.config import Config

from harmoclip_mm.apis import load_config
from harmoclip_mm.command_line import add_config_option, add_launcher_options


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        help='folder of logs and checkpoints (default: work_dir of the '
        'config, else ./work_dirs/<name of the config>)',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint, or without a value from the latest '
        'one in the work folder',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='train with automatic mixed precision (needs a GPU)',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the actual batch size over '
        'auto_scale_lr.base_batch_size of the config',
    )
    add_config_option(parser, 'model.heads.lrc.loss.loss_weight=2')
    add_launcher_options(parser)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def enable_amp(cfg: Config) -> None:
    """Replace the optimizer wrapper by the mixed-precision one."""
    from mmengine.device import get_device

    if get_device() == 'cpu':
        raise UsageError(
            '--amp needs a GPU and none is visible: leave it out to train in '
            'float32'
        )
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def enable_auto_scale_lr(cfg: Config) -> None:
    """Switch the scaling of the learning rate on."""
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise UsageError(
            '--auto-scale-lr needs auto_scale_lr = dict(base_batch_size=...) '
            'in the config, the batch size its learning rate is made for'
        )
    cfg.auto_scale_lr.enable = True


def is_random(cfg: Config) -> bool:
    """Whether a training starts from no weights, though its schedule is made
    to fine-tune."""
    if not cfg.get('needs_weights') or cfg.get('load_from'):
        return False
    parts = (cfg.model, *cfg.model.values())
    inits = [part.get('init_cfg') for part in parts if isinstance(part, dict)]
    return not any('checkpoint' in (each or ()) for each in inits)


def main() -> None:
    """Run the training."""
    args = parse_args()
    from harmoclip_mm.engine import (
        CheckpointGuard,
        build_runner,
        close_launcher,
        setup_resume,
    )

    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    if args.amp:
        enable_amp(cfg)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    if args.resume is not None:
        setup_resume(cfg, None if args.resume == 'auto' else args.resume)
    elif cfg.get('resume'):
        setup_resume(cfg, cfg.get('load_from'))
    guard = CheckpointGuard(strict=bool(cfg.get('resume')))
    runner = build_runner(cfg, args.launcher, guard)
    if is_random(cfg) and not cfg.get('resume'):
        runner.logger.warning(
            'The training starts from random weights, but its schedule is '
            'made to fine-tune a CLIP: give --cfg-options load_from=FILE'
        )
    runner.train()
    info = runner.message_hub.get_info
    saved = info('last_ckpt') or info('best_ckpt')
    told = 'No checkpoint was saved'
    if saved:
        told = f'Checkpoints are in {os.path.dirname(saved)}'
    runner.logger.info(f'{told}; the log of this run is in {runner.log_dir}')
    close_launcher()


if __name__ == '__main__':
    run_command(main)
