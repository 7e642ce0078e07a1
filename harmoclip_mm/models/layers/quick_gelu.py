"""The activation of OpenAI's CLIP."""

import torch.nn.functional as F
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS

SLOPE = 1.702  # openai/CLIP, ``clip/model.py``


@MODELS.register_module()
class QuickGELU(nn.Module):
    """``x * sigmoid(1.702 x)``, by way of SiLU.

    ``silu(a x) / a`` is the same function as ``mmpretrain.QuickGELU``; its
    backward keeps one tensor instead of two and runs fewer kernels.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps a tensor of any shape element by element."""
        return F.silu(SLOPE * x) * (1 / SLOPE)
