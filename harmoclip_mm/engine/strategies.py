"""Sharded training of a CLIP with two towers."""

from typing import Any, List, Optional

import torch
import torch.distributed as dist
from mmengine._strategy import FSDPStrategy
from mmengine.device import get_device
from mmengine.optim import BaseOptimWrapper
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.clip import HarmoCLIP
from harmoclip_mm.models.clip.feature_extraction import (
    CROP_FEATURES,
    TEACHER_FEATURES,
)
from harmoclip_mm.models.layers import LogitScale
from harmoclip_mm.registry import STRATEGIES


@STRATEGIES.register_module()
class CLIPFSDPStrategy(FSDPStrategy):
    """mmengine's FSDP for ``HarmoCLIP``, for runners of ``FlexibleRunner``.

    Parameters, gradients and the optimizer's state are sharded over all
    ranks. What CLIP needs beside mmengine's strategy:

    - The MLP of every block of the towers, two thirds of its weights, is a
      unit of its own. All else is one unit: the towers open their blocks at
      attention and do not call them as modules, which FSDP waits for.
    - Temperatures are scalars, which FSDP refuses: they stay whole on every
      rank, and their gradients are averaged before each optimizer step.
    - Without a GPU the units live on the CPU (gloo), for tests.

    Losses gather embeddings inside ``forward``, and FSDP averages gradients
    over the ranks as ``DistributedDataParallel`` does, so they stay exact.

    Args:
        state_dict_cfg (str | dict): As in mmengine. Defaults to 'full':
            checkpoints are whole, written by rank 0, and are read by every
            tool.
        **kwargs: Other arguments of mmengine's ``FSDPStrategy``.
    """

    def __init__(self, *, state_dict_cfg: Any = 'full', **kwargs) -> None:
        super().__init__(state_dict_cfg=state_dict_cfg, **kwargs)
        if get_device() == 'cpu' and self._is_full_state_dict():
            # FSDP would free the memory that it "offloads" to the same CPU.
            self.state_dict_config.offload_to_cpu = False
            self.optim_state_dict_config.offload_to_cpu = False

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        """Shards the model.

        Raises:
            UsageError: If the model is no ``HarmoCLIP``, ranks would run a
                tower different numbers of times, which hangs, or there is no
                process group.
        """
        if not isinstance(model, HarmoCLIP):
            raise UsageError(
                f'CLIPFSDPStrategy shards a HarmoCLIP, not a '
                f'{type(model).__name__}'
            )
        needs = set().union(*(head.requires for head in model.heads.values()))
        crops = needs & (CROP_FEATURES | TEACHER_FEATURES)
        if crops or ('lexemes' in needs and 'phrases' not in needs):
            raise UsageError(
                'under FSDP every rank must run the towers equally often, '
                'and the number of regions must not decide it: train LRC '
                'together with a RegionAlignmentHead of mode "text", or use '
                'DistributedDataParallel (no strategy and no runner_type)'
            )
        if not self.distributed:
            raise UsageError(
                'sharding needs processes to share with: start '
                'tools/dist_train.sh (with 1 GPU too), or use the config '
                'without its runner_type and strategy'
            )
        named = model.named_modules()
        units = {module for name, module in named if name.endswith('.mlp')}

        def policy(module: nn.Module, recurse: bool, **kwargs) -> bool:
            return recurse or module in units

        scales = [m for m in model.modules() if isinstance(m, LogitScale)]
        for scale in scales:
            scale.to(get_device())
        self._whole: List[nn.Parameter] = [
            parameter for scale in scales for parameter in scale.parameters()
        ]
        settings = dict(
            type='MMFullyShardedDataParallel',
            use_orig_params=True,
            auto_wrap_policy=policy,
            ignored_states=self._whole,
        )
        if get_device() == 'cpu':
            settings['device_id'] = torch.device('cpu')
        self.model_wrapper = {**settings, **(self.model_wrapper or {})}
        return super()._wrap_model(model)

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: Optional[nn.Module] = None
    ) -> BaseOptimWrapper:
        """Builds the optimizer of the shards.

        Args:
            optim_wrapper (Optimizer | OptimWrapper | dict): As in mmengine.
            model (nn.Module, optional): The sharded model.

        Returns:
            BaseOptimWrapper: The wrapper; its steps average the gradients of
            the parameters that are not sharded.

        Raises:
            UsageError: If gradients are to be clipped.
        """
        wrapper = super().build_optim_wrapper(optim_wrapper, model)
        if getattr(wrapper, 'clip_grad_kwargs', None):
            raise UsageError(
                'mmengine clips every shard by its own norm: leave clip_grad '
                'out of optim_wrapper, or train without CLIPFSDPStrategy'
            )
        wrapper.optimizer.register_step_pre_hook(self._average_whole)
        return wrapper

    def optim_state_dict(self) -> dict:
        """State of the optimizer, whole where checkpoints are.

        Returns:
            dict: Its state, and what the wrapper keeps beside it.
        """
        state = FullyShardedDataParallel.optim_state_dict(
            self.model, self.optim_wrapper.optimizer
        )
        return {**self._extras(self.optim_wrapper.state_dict()), **state}

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Loads the state of the optimizer.

        mmengine's own passes its arguments in the order of torch 2.0.

        Args:
            state_dict (dict): What :meth:`optim_state_dict` gave.
        """
        extras = self._extras(state_dict)
        state = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model,
            optim=self.optim_wrapper.optimizer,
            optim_state_dict={
                name: value
                for name, value in state_dict.items()
                if name not in extras
            },
        )
        self.optim_wrapper.load_state_dict({**extras, **state})

    @staticmethod
    def _extras(state_dict: dict) -> dict:
        """Entries of the wrapper: base settings, loss scale."""
        return {
            name: value
            for name, value in state_dict.items()
            if name not in ('state', 'param_groups')
        }

    def _average_whole(self, *args: Any) -> None:
        """Averages the gradients of unsharded parameters over the ranks."""
        trained = [each for each in self._whole if each.requires_grad]
        if self.world_size == 1 or not trained:
            return
        grads = torch.stack(
            [
                torch.zeros_like(each) if each.grad is None else each.grad
                for each in trained
            ]
        )
        dist.all_reduce(grads)
        for each, grad in zip(trained, grads / self.world_size):
            each.grad = grad
