"""Feature pyramids of a plain vision transformer."""

import math
from typing import Dict, List, Optional, Sequence, Tuple

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmdet.models.necks import FPN
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from harmoclip_mm.registry import MODELS


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Levels of several strides from maps that all have a patch's stride.

    Of **one** map it makes all levels: ViTDet's simple feature pyramid
    (arXiv 2203.16527, section 3, appendix A.2). Of **several** maps, those of
    the backbone's ``out_indices``, it makes one level each, in order: the
    F-ViT of CLIPSelf (arXiv 2310.01403), blocks 3, 5, 7 and 11 of ViT-B/16
    by 4, 2, 1 and 1/2, with ``top_down=True`` (its deconvolutions keep the
    channels, these halve them as ViTDet's do).

    Each level is scaled by deconvolutions of stride 2, which halve the
    channels and have a norm and a GELU between them, or by max-pooling. Then
    follow the convolutions of mmdet's :class:`FPN`: 1 x 1 and 3 x 3, each
    with a norm; its path from coarse to fine is optional.

    A level of scale s has ceil(s * h) x ceil(s * w) locations, whatever the
    grid (h, w): what a pooling or a coarser level cannot halve is kept.
    Parameters have the same names for one map and for several, and with and
    without ``top_down``.

    Args:
        in_channels (int): Channels C of the maps.
        out_channels (int): Channels of each level. Defaults to 256.
        scale_factors (Sequence[float]): Size of each level by that of the
            map, finest first; powers of 2. With patches of 16 pixels the
            default (4, 2, 1, 0.5) has strides 4, 8, 16 and 32.
        num_outs (int, optional): Number of levels with those that are made
            by subsampling the last one, as mmdet's FPN does. Defaults to
            the number of ``scale_factors``.
        top_down (bool): Add each coarser level to the next finer one, as
            FPN does. Defaults to False.
        norm_cfg (dict, optional): Norms. Defaults to ViTDet's layer norm
            over the channels of a location, ``mmpretrain.LN2d`` of epsilon
            1e-6. Across several GPUs ``dict(type='SyncBN')`` is F-ViT's.
        init_cfg (dict, optional): Initialisation config.

    Raises:
        ValueError: If a scale is no power of 2, the channels cannot be
            halved that often, or ``num_outs`` is too small.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        scale_factors: Sequence[float] = (4, 2, 1, 0.5),
        num_outs: Optional[int] = None,
        top_down: bool = False,
        norm_cfg: Optional[Dict] = None,
        init_cfg: Optional[Dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='mmpretrain.LN2d', eps=1e-6)
        levels = len(scale_factors)
        num_outs = levels if num_outs is None else num_outs
        if not 0 < levels <= num_outs:
            raise ValueError(
                f'num_outs {num_outs} must be at least the number of '
                f'scale_factors, {levels}, and there must be one of them.'
            )
        self.in_channels = in_channels
        self.scale_factors = tuple(scale_factors)
        self.num_outs = num_outs
        self.top_down = top_down
        scalers, channels = zip(
            *(
                build_scaler(in_channels, scale, norm_cfg)
                for scale in scale_factors
            )
        )
        self.scalers = ModuleList(scalers)
        self.fpn = FPN(
            in_channels=list(channels),
            out_channels=out_channels,
            num_outs=num_outs,
            norm_cfg=norm_cfg,
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Makes the levels.

        Args:
            inputs (Sequence[Tensor]): One map (B, C, h, w), or one for each
                of ``scale_factors``.

        Returns:
            Tuple[Tensor, ...]: ``num_outs`` levels, finest first, each
            (B, out_channels, h', w').

        Raises:
            ValueError: If the number of maps is another.
        """
        levels = len(self.scalers)
        if len(inputs) not in (1, levels):
            raise ValueError(
                f'SimpleFeaturePyramid of {levels} scale_factors needs one '
                f'map or {levels}, but the backbone gave {len(inputs)}; '
                'set its out_indices.'
            )
        if len(inputs) == 1:
            inputs = [inputs[0]] * levels
        scaled = [scale(x) for scale, x in zip(self.scalers, inputs)]
        if self.top_down:
            return self.fpn(scaled)
        outs: List[Tensor] = [
            conv(lateral(x))
            for lateral, conv, x in zip(
                self.fpn.lateral_convs, self.fpn.fpn_convs, scaled
            )
        ]
        while len(outs) < self.num_outs:
            outs.append(F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)


def build_scaler(
    channels: int, scale: float, norm_cfg: Dict
) -> Tuple[nn.Module, int]:
    """Builds what scales a map by a power of 2.

    Args:
        channels (int): Channels of the map.
        scale (float): Factor of its sides.
        norm_cfg (dict): Norm between two deconvolutions.

    Returns:
        Tuple[nn.Module, int]: The module, and the channels it gives.

    Raises:
        ValueError: If the scale is no power of 2, or the channels cannot be
            halved that often.
    """
    doublings = math.log2(scale) if scale > 0 else math.nan
    if doublings != round(doublings, 0):
        raise ValueError(f'scale {scale} of scale_factors is no power of 2.')
    doublings = int(doublings)
    if doublings <= 0:
        side = 2**-doublings
        # The last, incomplete part of an odd map is a location too.
        pool = nn.MaxPool2d(side, side, ceil_mode=True)
        return (pool if side > 1 else nn.Identity()), channels
    if channels % 2**doublings:
        raise ValueError(
            f'{channels} channels cannot be halved {doublings} times for '
            f'scale {scale} of scale_factors.'
        )
    steps: List[nn.Module] = []
    for _ in range(doublings):
        if steps:
            steps += [build_norm_layer(norm_cfg, channels)[1], nn.GELU()]
        steps.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
        channels //= 2
    return nn.Sequential(*steps), channels
