"""CLIP's learnable temperature."""

import math

import torch
from torch import Tensor, nn


class LogitScale(nn.Module):
    """Scale of cosine similarities, ``exp`` of a learnable scalar.

    CLIP (arXiv 2103.00020, section 2.5) starts at 1 / 0.07 and keeps the
    scale at or below 100. The bound is applied to the parameter and not to
    its exponential, else the gradient of a scale above it would vanish and
    it could never come down again.

    Args:
        init_value (float): First value of the scale. Defaults to 1 / 0.07.
        max_value (float): Upper bound of the scale. Defaults to 100.
        learnable (bool): Whether the scale is trained. Defaults to True.
    """

    def __init__(
        self,
        init_value: float = 1 / 0.07,
        max_value: float = 100.0,
        learnable: bool = True,
    ) -> None:
        super().__init__()
        self.max_log_scale = math.log(max_value)
        self.log_scale = nn.Parameter(
            torch.tensor(math.log(init_value)), requires_grad=learnable
        )

    def forward(self) -> Tensor:
        """Returns the scale, a scalar in (0, max_value]."""
        if self.training and self.log_scale.requires_grad:
            with torch.no_grad():
                self.log_scale.clamp_(max=self.max_log_scale)
        return self.log_scale.exp()
