"""CLIP's learnable temperature, and SigLIP's bias."""

import math
from typing import Optional, Tuple

import torch
from torch import Tensor, nn


class LogitScale(nn.Module):
    """Scale of cosine similarities, ``exp`` of a learnable scalar, and the
    learnable bias that is added to them where a CLIP has one.

    CLIP (arXiv 2103.00020, section 2.5) starts at 1 / 0.07 and keeps the
    scale at or below 100; with a bias there is no bound. It is applied to the
    parameter and not to its exponential, else the gradient of a scale above
    it would vanish and it could never come down again.

    Args:
        init_scale (float): First value of the scale. Defaults to 1 / 0.07.
        init_bias (float, optional): First value of the bias. Defaults to no
            bias: scores are a softmax's. With one they are a sigmoid's.
    """

    def __init__(
        self,
        init_scale: float = 1 / 0.07,
        init_bias: Optional[float] = None,
    ) -> None:
        super().__init__()
        # Released SigLIPs have scales above 100 (So400m/14: 112), which a
        # bound would change at the first step.
        self.max_log_scale = math.log(100) if init_bias is None else math.inf
        self.log_scale = nn.Parameter(torch.tensor(math.log(init_scale)))
        self.bias = None
        if init_bias is not None:
            self.bias = nn.Parameter(torch.tensor(float(init_bias)))

    def forward(self) -> Tuple[Tensor, Optional[Tensor]]:
        """Returns scale and bias.

        Returns:
            Tuple[Tensor, Tensor | None]: The scale, a positive scalar, and
            the bias, a scalar, None where there is none.
        """
        if self.training and self.log_scale.requires_grad:
            with torch.no_grad():
                self.log_scale.clamp_(max=self.max_log_scale)
        return self.log_scale.exp(), self.bias

    def probabilities(self, logits: Tensor, dim: int = -1) -> Tensor:
        """Turns logits into what the CLIP was trained to say.

        Args:
            logits (Tensor): Scaled cosines, plus the bias if there is one.
            dim (int): Dimension of the classes, which only a softmax has to
                know. Defaults to the last.

        Returns:
            Tensor: Probabilities of the same shape: over the classes without
            a bias, of each class by itself with one.
        """
        if self.bias is None:
            return logits.softmax(dim=dim)
        return logits.sigmoid()


def cosine_logits(
    rows: Tensor, texts: Tensor, scale: Tensor, bias: Optional[Tensor] = None
) -> Tensor:
    """Scaled cosines, in float32 whatever autocast says.

    Args:
        rows (Tensor): L2-normalised embeddings, shape (N, D).
        texts (Tensor): L2-normalised embeddings, shape (T, D).
        scale (Tensor): Factor of the cosines, scalar.
        bias (Tensor, optional): What a CLIP trained with a sigmoid adds to
            them, scalar. Defaults to none.

    Returns:
        Tensor: Logits, shape (N, T), float32.
    """
    # A product in bfloat16 would tie texts that are apart.
    with torch.autocast(rows.device.type, enabled=False):
        logits = scale.float() * rows.float() @ texts.float().t()
        return logits if bias is None else logits + bias.float()
