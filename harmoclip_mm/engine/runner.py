"""From a config to a Runner that loads checkpoints safely."""

from typing import Sequence

from mmengine.config import Config
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner

from harmoclip_mm.datasets import check_annotations
from harmoclip_mm.errors import UsageError

from .checkpoint_guard import CheckpointGuard, use_safe_loading
from .console import QuietRunner, SummaryHook, quieten_libraries
from .launch import setup_launcher


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
        cfg (Config): The config; ``runner_type`` names another Runner than
            mmengine's. Launcher settings are written into it.
        launcher (str): As for :func:`setup_launcher`.
        guard (CheckpointGuard): What decides which checkpoints fit.
        phases (Sequence[str]): What the Runner will do: ``'train'`` and
            ``'val'``, or ``'test'``. Defaults to a training.

    Returns:
        Runner: The Runner, with the guard among its hooks, whose terminal
        gets no dumps unless ``runner_type`` names another.

    Raises:
        UsageError: If the launcher's environment is missing, or the config
            has no model or no data.
        DataError: If annotations do not fit their data set.
    """
    for key in ('model', f'{phases[0]}_dataloader'):
        if not cfg.get(key):
            raise UsageError(f'config {cfg.filename} has no {key}')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    quieten_libraries()
    for phase in phases:
        loader = cfg.get(f'{phase}_dataloader') or {}
        evaluator = cfg.get(f'{phase}_evaluator') or ()
        check_annotations(loader.get('dataset') or {}, evaluator)
    use_safe_loading()
    setup_launcher(cfg, launcher)
    if 'runner_type' in cfg:
        runner = RUNNERS.build(cfg)
    else:
        runner = QuietRunner.from_cfg(cfg)
    runner.register_hook(guard)
    runner.register_hook(SummaryHook())
    return runner
