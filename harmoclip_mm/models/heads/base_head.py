"""What all heads on the two towers share."""

from abc import abstractmethod
from typing import Dict, FrozenSet, Optional

from mmengine.model import BaseModule
from torch import Tensor

from harmoclip_mm.registry import MODELS

from ..layers import LogitScale
from ..utils import CLIPFeatures

TEMPERATURES = ('shared', 'own')


class BaseContrastiveHead(BaseModule):
    """A head says which features it needs and turns them into a loss.

    Args:
        loss (dict): Config of the loss module.
        temperature (str): ``'shared'`` scales cosines by CLIP's temperature,
            ``'own'`` by a learnable one of the head's.
        init_cfg (dict, optional): Initialisation config.

    Attributes:
        requires (FrozenSet[str]): Fields of ``CLIPFeatures`` that the model
            has to compute for this head, and no others.

    Raises:
        ValueError: If ``temperature`` is unknown.
    """

    requires: FrozenSet[str] = frozenset()

    def __init__(
        self,
        loss: Dict,
        temperature: str,
        init_cfg: Optional[Dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if temperature not in TEMPERATURES:
            raise ValueError(
                f'{type(self).__name__} knows no temperature={temperature!r};'
                f' choose one of {", ".join(map(repr, TEMPERATURES))}.'
            )
        self.loss_module = MODELS.build(loss)
        self.logit_scale = LogitScale() if temperature == 'own' else None

    def scale(self, features: CLIPFeatures) -> Tensor:
        """Returns the factor of the cosines, a scalar."""
        if self.logit_scale is None:
            return features.logit_scale
        return self.logit_scale()

    @abstractmethod
    def loss(self, features: CLIPFeatures) -> Dict[str, Tensor]:
        """Computes the losses of a batch.

        Args:
            features (CLIPFeatures): Features of this rank's batch.

        Returns:
            Dict[str, Tensor]: Named scalar losses.
        """
