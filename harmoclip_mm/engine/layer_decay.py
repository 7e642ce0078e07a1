"""Layer-wise decay of the learning rate for detectors."""

from functools import partial
from typing import Callable, Dict, List, Optional

from mmpretrain.engine.optimizers import (
    LearningRateDecayOptimWrapperConstructor,
)
from torch import nn

from harmoclip_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class BackboneLayerDecayOptimWrapperConstructor(
    LearningRateDecayOptimWrapperConstructor
):
    """mmpretrain's layer decay, for models that know of no depth themselves.

    mmpretrain's constructor serves a ``HarmoCLIP`` as it is, and refuses a
    detector of mmdet, which has no ``get_layer_depth``. Here the depth of a
    detector's parameters is that which its ``backbone`` says; what stands
    behind it (neck, heads) has the plain learning rate. Weights that several
    modules share, as in the heads of DINO, are optimised once, where
    mmpretrain's gives them to the optimizer twice, which torch refuses.
    ``paramwise_cfg`` is mmpretrain's.
    """

    def add_params(
        self,
        params: List[Dict],
        module: nn.Module,
        prefix: str = '',
        get_layer_depth: Optional[Callable] = None,
        **kwargs,
    ) -> None:
        """Appends a group for each parameter that is trained, see
        mmpretrain.

        Raises:
            TypeError: If neither the model nor its backbone has
                ``get_layer_depth``.
        """
        if prefix:
            super().add_params(params, module, prefix, get_layer_depth)
            return
        backbone = getattr(module, 'backbone', None)
        if get_layer_depth is None and hasattr(backbone, 'get_layer_depth'):
            get_layer_depth = partial(
                backbone.get_layer_depth, prefix='backbone.'
            )
        get_layer_depth = getattr(module, 'get_layer_depth', get_layer_depth)
        if get_layer_depth is None:
            raise TypeError(
                f'neither {type(module).__name__} nor its backbone '
                f'{type(backbone).__name__} has get_layer_depth, which layer '
                'decay asks: use a backbone such as '
                "'harmoclip_mm.HarmoCLIPBackbone' or remove the constructor"
            )
        super().add_params(params, module, prefix, get_layer_depth)
        first = {id(group['params'][0]): group for group in params[::-1]}
        params[:] = [g for g in params if first[id(g['params'][0])] is g]
