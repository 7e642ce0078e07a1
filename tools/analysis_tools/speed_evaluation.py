"""Box features of one dense map, or of a crop for each box."""

import argparse
import statistics
from functools import partial
from typing import Any, Callable, Dict

import torch
from mmengine.registry import init_default_scope
from speed_data import in_turn, seconds_of
from speed_training import autocast
from torch import Tensor, nn

from harmoclip_mm.models.utils import RegionBatch
from harmoclip_mm.registry import MODELS


def median_seconds(function: Callable[[], Any], rounds: int) -> float:
    """Median time of a call, after one that warms up.

    The median is not moved by the few calls that other programs delay.
    """
    function()
    return statistics.median(seconds_of(function) for _ in range(rounds))


def random_regions(num_images: int, num_boxes: int, size: int) -> RegionBatch:
    """Boxes of a quarter to all of each side."""
    sides = (0.25 + 0.75 * torch.rand(num_images, num_boxes, 2)) * size
    start = torch.rand_like(sides) * (size - sides)
    return RegionBatch.from_boxes(list(torch.cat([start, start + sides], -1)))


def time_boxes(
    args: argparse.Namespace, tower: nn.Module, size: int, num_boxes: int
) -> Dict[str, float]:
    """Images a second of both ways."""
    images = torch.randn(args.batch_size, 3, size, size, device=args.device)
    regions = random_regions(args.batch_size, num_boxes, size)
    regions = regions._replace(rois=regions.rois.to(args.device))
    on_map = MODELS.build(dict(type='RoIFeatureExtractor'))
    on_crops = MODELS.build(dict(type='CropFeatureExtractor'))

    def dense() -> Tensor:
        dense = tower.encode(images, with_pooled=False).dense
        return on_map(dense, regions, images, tower)

    map_seconds = median_seconds(dense, args.rounds)
    crop_seconds = median_seconds(
        partial(on_crops, None, regions, images, tower), args.rounds
    )
    return dict(
        size=size,
        boxes=num_boxes,
        dense_images_per_second=args.batch_size / map_seconds,
        crop_images_per_second=args.batch_size / crop_seconds,
        speedup=crop_seconds / map_seconds,
    )


def run(args: argparse.Namespace) -> Dict[str, Any]:
    """Times both ways to box features.

    Returns:
        Dict[str, Any]: ``results``, one for each image size and number of
        boxes.
    """
    torch.manual_seed(0)
    init_default_scope('harmoclip_mm')
    tower = MODELS.build(dict(type='HarmoCLIPBackbone', clip=args.clip))
    tower.eval().to(args.device)
    pairs = [(size, boxes) for size in args.sizes for boxes in args.boxes]
    device = torch.device(args.device).type
    with torch.no_grad(), autocast(device, args.precision):
        results = [
            time_boxes(args, tower, *pair) for pair in in_turn(pairs, 'Timing')
        ]
    return dict(results=results)
