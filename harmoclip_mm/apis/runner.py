"""From a config to a Runner that loads checkpoints safely."""

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from harmoclip_mm.engine import setup_launcher

from .checkpoint import CheckpointGuard, use_safe_loading


def build_runner(cfg: Config, launcher: str, guard: CheckpointGuard) -> Runner:
    """Set up the processes and build the Runner of a config.

    Args:
        cfg (Config): The config; ``runner_type`` names another Runner than
            mmengine's. Launcher settings are written into it.
        launcher (str): One of ``LAUNCHERS``.
        guard (CheckpointGuard): What decides which checkpoints fit.

    Returns:
        Runner: The Runner, with the guard among its hooks.

    Raises:
        UsageError: If the launcher's environment is missing.
    """
    use_safe_loading()
    setup_launcher(cfg, launcher)
    if 'runner_type' in cfg:
        runner = RUNNERS.build(cfg)
    else:
        runner = Runner.from_cfg(cfg)
    runner.register_hook(guard)
    return runner
