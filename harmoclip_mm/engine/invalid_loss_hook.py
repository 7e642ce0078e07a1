"""A training that has become NaN ends, and says on which images."""

import math
from typing import Any, Mapping, Optional

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import HOOKS


@HOOKS.register_module()
class InvalidLossHook(Hook):
    """Stop at a loss or gradient norm that is NaN or infinite.

    It runs before the averaged model is updated and before a checkpoint is
    written, so the last checkpoint is a good one. Each rank speaks for its
    own images: contrastive losses see those of all ranks, so usually all
    ranks stop at once, and the launcher ends those that do not.

    The gradient norm is known where ``optim_wrapper.clip_grad`` is set. It is
    not looked at under ``AmpOptimWrapper``, which skips such steps itself.
    Every iteration is checked: mmengine reads the losses from the device in
    each iteration anyway.
    """

    priority = 'HIGH'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Optional[dict] = None,
        outputs: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Check the losses of the iteration.

        Raises:
            UsageError: If one is not finite, naming iteration, rank, values
                and images.
        """
        values = {
            name: value.item() if torch.is_tensor(value) else value
            for name, value in (outputs or {}).items()
            if isinstance(value, (int, float))
            or (torch.is_tensor(value) and value.numel() == 1)
        }
        norm = runner.message_hub.log_scalars.get('train/grad_norm')
        if norm and not isinstance(runner.optim_wrapper, AmpOptimWrapper):
            values['grad_norm'] = norm.current()
        bad = [k for k, value in values.items() if not math.isfinite(value)]
        if not bad:
            return
        shown = ', '.join(f'{name} {x:.6g}' for name, x in values.items())
        images = '\n'.join(
            f'    {x.get("img_path", x.get("img_id", "without a path"))}'
            for x in (data_batch or {}).get('data_samples', [])
        )
        raise UsageError(
            f'{" and ".join(bad)} not finite in iteration {runner.iter + 1} '
            f'(epoch {runner.epoch + 1}, batch {batch_idx + 1}) on rank '
            f'{get_rank()}: {shown}. The last checkpoint is from before: '
            'lower the learning rate or set optim_wrapper.clip_grad, then go '
            'on with --resume; if it comes back at the same images, look at '
            f'them. Images of the batch:\n{images}'
        )
