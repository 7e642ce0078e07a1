"""What all heads on the two towers share."""

from abc import abstractmethod
from typing import Dict, FrozenSet, Optional, Tuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from harmoclip_mm.errors import check_choice
from harmoclip_mm.registry import MODELS

from ..layers import LogitScale
from ..utils import CLIPFeatures

TEMPERATURES = ('shared', 'own')
# SigLIP's first bias (arXiv 2303.15343): most pairs are negatives.
FIRST_BIAS = -10.0


class BaseContrastiveHead(BaseModule):
    """A head says which features it needs and turns them into a loss.

    Its logits are ``scale * cosine + bias``. Whose scale and bias they are is
    said by ``temperature``; a loss that needs a bias always has one, the
    head's own where the CLIP has none.

    Args:
        loss (dict, optional): Config of the loss module. Without ``type`` it
            is a ``loss_type``. Defaults to that with its own defaults.
        temperature (str, optional): ``'shared'`` takes the CLIP's scale and
            bias, ``'own'`` learnable ones of the head's. Defaults to
            ``usual_temperature``.
        init_scale (float): First scale of an own temperature. Defaults to
            1 / 0.07.
        init_bias (float, optional): Bias of the CLIP before training, with
            which an own one starts. Defaults to a CLIP without bias: if the
            loss needs one it is the head's own and starts at -10.
        default_loss (str): The loss that the CLIP was trained with. Defaults
            to ``ContrastiveLoss``.
        init_cfg (dict, optional): Initialisation config.

    ``HarmoCLIP`` hands its CLIP's ``init_scale``, ``init_bias`` and
    ``default_loss`` to heads that do not set them.

    Attributes:
        requires (FrozenSet[str]): Fields of ``CLIPFeatures`` that the model
            has to compute for this head, and no others.
        loss_type (str, optional): The loss of a kind of head. None: the
            ``default_loss``.
        usual_temperature (str): Its temperature. ``'shared'``, but for kinds
            that say otherwise.

    Raises:
        ValueError: If ``temperature`` is unknown.
    """

    requires: FrozenSet[str] = frozenset()
    loss_type: Optional[str] = None
    usual_temperature = 'shared'

    def __init__(
        self,
        loss: Optional[Dict] = None,
        temperature: Optional[str] = None,
        init_scale: float = 1 / 0.07,
        init_bias: Optional[float] = None,
        default_loss: str = 'harmoclip_mm.ContrastiveLoss',
        init_cfg: Optional[Dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        name = type(self).__name__
        temperature = temperature or self.usual_temperature
        check_choice(name, 'temperature', temperature, TEMPERATURES)
        loss_type = self.loss_type or default_loss
        self.loss_module = MODELS.build({'type': loss_type, **(loss or {})})
        needs_bias = getattr(self.loss_module, 'needs_bias', False)
        first_bias = FIRST_BIAS if init_bias is None else init_bias
        self.logit_scale, self.bias = None, None
        if temperature == 'own':
            self.logit_scale = LogitScale(
                init_scale, first_bias if needs_bias else None
            )
        elif needs_bias and init_bias is None:
            self.bias = nn.Parameter(torch.tensor(first_bias))

    def temperature(
        self, features: CLIPFeatures
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """Returns factor of the cosines and bias, scalars; None: no bias."""
        if self.logit_scale is not None:
            return self.logit_scale()
        bias = features.bias if self.bias is None else self.bias
        return features.scale, bias

    @abstractmethod
    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Computes the losses of a batch.

        Returns:
            Dict[str, Tensor]: Named scalar losses.
        """
