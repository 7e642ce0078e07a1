"""Layer-wise decay of the learning rate for detectors."""

from functools import partial
from typing import Callable, Dict, List, Optional

from mmpretrain.engine.optimizers import (
    LearningRateDecayOptimWrapperConstructor as _Constructor,
)
from torch import nn

from harmoclip_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LearningRateDecayOptimWrapperConstructor(_Constructor):
    """mmpretrain's constructor, for models that know of no depth too.

    A detector of mmdet has no ``get_layer_depth``, so mmpretrain's
    constructor refuses it. Here the depth of its parameters is that which
    its ``backbone`` says; what stands behind the backbone (neck, heads) has
    the plain learning rate. Weights that several modules share are
    optimised once, where mmpretrain's constructor gives them to the
    optimizer twice. ``paramwise_cfg`` is mmpretrain's: ``layer_decay_rate``,
    ``norm_decay_mult``, ``bias_decay_mult``, ``flat_decay_mult`` and
    ``custom_keys`` with ``decay_mult``. There is no ``lr_mult``.
    """

    def add_params(
        self,
        params: List[Dict],
        module: nn.Module,
        prefix: str = '',
        get_layer_depth: Optional[Callable] = None,
        **kwargs,
    ) -> None:
        """Appends a group for each parameter that is trained.

        Args:
            params (List[dict]): Groups, appended to in place.
            module (nn.Module): The model.
            prefix (str): Prefix of the module's parameters. Defaults to
                ``''``.
            get_layer_depth (Callable, optional): Depth of a parameter and
                number of depths, by its name. Defaults to what the model,
                or else its backbone, says.
            **kwargs: Ignored, as by mmpretrain.

        Raises:
            TypeError: If neither the model nor its backbone has
                ``get_layer_depth``.
        """
        if get_layer_depth is None:
            get_layer_depth = depth_of_parameters(module)
        super().add_params(params, module, prefix, get_layer_depth, **kwargs)
        if prefix == '':
            first = {id(group['params'][0]): group for group in params[::-1]}
            params[:] = [
                group
                for group in params
                if first[id(group['params'][0])] is group
            ]


def depth_of_parameters(model: nn.Module) -> Callable:
    """Finds what tells the depth of a model's parameters.

    Args:
        model (nn.Module): The model.

    Returns:
        Callable: Takes a parameter's name, gives its depth and the number
        of depths.

    Raises:
        TypeError: If neither the model nor its backbone has
            ``get_layer_depth``.
    """
    if hasattr(model, 'get_layer_depth'):
        return model.get_layer_depth
    backbone = getattr(model, 'backbone', None)
    if hasattr(backbone, 'get_layer_depth'):
        return partial(backbone.get_layer_depth, prefix='backbone.')
    raise TypeError(
        'Layer-wise decay of the learning rate needs to know the depth of '
        f'parameters, but neither {type(model).__name__} nor its backbone '
        f'{type(backbone).__name__} has get_layer_depth; use a backbone such '
        "as 'harmoclip_mm.HarmoCLIPBackbone' or remove the constructor."
    )
