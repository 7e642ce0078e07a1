#!/usr/bin/env python
"""Evaluate a checkpoint, or the model as initialised, with a config file."""

import argparse
import os
import os.path as osp
from datetime import datetime

try:
    from harmoclip_mm.errors import UsageError, run_command
except ImportError as error:
    raise SystemExit(f'{error}; did you run `. .venv/bin/activate`?') from None

from mmengine.config import Config

from harmoclip_mm.apis import load_config
from harmoclip_mm.command_line import add_config_option, add_launcher_options
from harmoclip_mm.files import check_writable


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='checkpoint of a training or a CLIP of any format (OpenAI, '
        'open_clip, Hugging Face, EVA-CLIP ...: file, folder or hf-hub:NAME), '
        'or "none" to evaluate the model as a training would start from it '
        '(init_cfg and load_from of the config)',
    )
    parser.add_argument(
        '--work-dir',
        help='folder of logs (default: work_dir of the config, else '
        './work_dirs/<name of the config>)',
    )
    parser.add_argument(
        '--out',
        metavar='FILE.pkl',
        help='write predictions and ground truth of every image',
    )
    parser.add_argument(
        '--metrics-out',
        metavar='FILE.json',
        help='write the metrics as one JSON object',
    )
    parser.add_argument(
        '--show-dir',
        metavar='DIR',
        help='draw the predictions of every image into this folder',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='evaluate in mixed precision: float16 on a GPU, bfloat16 on a '
        'CPU',
    )
    add_config_option(parser, 'test_dataloader.batch_size=4')
    add_launcher_options(parser)
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error('--out must name a .pkl file')
    if args.metrics_out and not args.metrics_out.endswith('.json'):
        parser.error('--metrics-out must name a .json file')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def choose_weights(cfg: Config, checkpoint: str) -> bool:
    """Tell the Runner what to load.

    Returns:
        bool: Whether the model is evaluated as initialised.
    """
    cfg.resume = False
    if checkpoint.lower() == 'none':
        return True
    from harmoclip_mm.models.checkpoints import is_remote

    if not (is_remote(checkpoint) or osp.exists(checkpoint)):
        raise UsageError(
            f'checkpoint {checkpoint} does not exist; "none" evaluates the '
            'model as initialised'
        )
    cfg.load_from = checkpoint
    return False


def enable_amp(cfg: Config) -> None:
    """Let the test loop run the model under autocast."""
    # mmengine's word for mixed precision: bfloat16 where there is no GPU
    cfg.test_cfg = {**(cfg.get('test_cfg') or {}), 'fp16': True}


def enable_drawing(cfg: Config, folder: str) -> None:
    """Let a hook draw every test image into ``folder``."""
    import matplotlib as mpl

    hooks = cfg.setdefault('default_hooks', {})
    # probabilities over many classes are small, so no threshold, unless the
    # config of a detector has one
    score_thr = (hooks.get('visualization') or {}).get('score_thr', 0.0)
    hooks['visualization'] = {
        'type': 'harmoclip_mm.DrawPredictionsHook',
        'out_dir': folder,
        'score_thr': score_thr,
    }
    # mmengine's visualizer would read names with `$` as formulas
    mpl.rcParams['text.parse_math'] = False
    if not cfg.get('visualizer'):
        cfg.visualizer = {
            'type': 'harmoclip_mm.RegionTextVisualizer',
            'name': 'visualizer',
        }


def main() -> None:
    """Run the evaluation."""
    args = parse_args()
    for path in filter(None, (args.out, args.metrics_out)):
        check_writable(path)
    from harmoclip_mm.engine import (
        CheckpointGuard,
        build_runner,
        close_launcher,
    )
    from harmoclip_mm.evaluation import DumpRegionResults, save_metrics
    from harmoclip_mm.models.checkpoints import HEADS

    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    initialise = choose_weights(cfg, args.checkpoint)
    if args.show_dir:
        enable_drawing(cfg, args.show_dir)
    if args.amp:
        enable_amp(cfg)
    guard = CheckpointGuard(strict=not initialise, optional=HEADS)
    runner = build_runner(cfg, args.launcher, guard, ('test',))
    if initialise:
        # only a training does this by itself
        runner._init_model_weights()
        runner.logger.info('Evaluating the model as initialised')
    if args.out:
        run = {
            'config': args.config,
            'checkpoint': args.checkpoint,
            'date': datetime.now().isoformat(' ', timespec='minutes'),
        }
        given = [
            getattr(metric, 'groups', None)
            for metric in runner.test_evaluator.metrics
        ]
        groups = next((each for each in given if each), None)
        dump = DumpRegionResults(args.out, run, groups)
        # the other metrics got it when the test loop was built
        dump.dataset_meta = runner.test_evaluator.dataset_meta
        runner.test_evaluator.metrics.append(dump)

    metrics = runner.test()

    written = [f'the log of this run in {runner.log_dir}']
    if args.metrics_out:
        save_metrics(metrics, args.metrics_out)
        written.append(f'the metrics in {args.metrics_out}')
    if args.out:
        written.append(f'the predictions in {args.out}')
    if args.show_dir:
        written.append(f'the drawings in {args.show_dir}')
    runner.logger.info('Find ' + ', '.join(written))
    close_launcher()


if __name__ == '__main__':
    run_command(main)
