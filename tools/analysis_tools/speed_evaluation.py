"""Box features of one dense map, or of a crop for each box."""

import argparse
import statistics
from functools import partial
from typing import Any, Callable, Dict, List, Optional

import torch
from mmengine.registry import init_default_scope
from speed_data import in_turn, seconds_of
from speed_training import autocast
from torch import Tensor, nn

from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.layers import LogitScale
from harmoclip_mm.models.utils import RegionBatch
from harmoclip_mm.registry import MODELS
from harmoclip_mm.text import load_vocabulary


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


def time_classifier(args: argparse.Namespace) -> Optional[Dict[str, float]]:
    """Seconds of building the classifier, and of scoring 1000 boxes."""
    tower = MODELS.build(dict(type='CLIPTextEncoder', clip=args.clip))
    tower.eval().to(args.device)
    classes = load_vocabulary(args.vocabulary).classes
    cfg = dict(type='ZeroShotClassifier', templates=args.templates)
    classifier = MODELS.build(cfg).eval()
    scale = LogitScale().to(args.device)()[0]
    embeddings = torch.randn(1000, tower.out_dims, device=args.device)
    try:
        # it tokenises too, as every evaluation does
        build = seconds_of(
            partial(classifier.class_embeddings, classes, tower)
        )
    except UsageError as error:
        print(f'No classifier: {error}')
        return None
    score = partial(classifier, embeddings, classes, tower, scale)
    return dict(
        classes=len(classes),
        templates=len(classifier.templates),
        build_seconds=build,
        score_1000_boxes_seconds=median_seconds(score, args.rounds),
    )


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
        Dict[str, Any]: ``classifier``, None without a tokenizer at hand, and
        ``results``, one for each image size and number of boxes.
    """
    torch.manual_seed(0)
    init_default_scope('harmoclip_mm')
    device = torch.device(args.device).type
    with torch.no_grad(), autocast(device, args.precision):
        classifier = time_classifier(args)
        tower = MODELS.build(dict(type='HarmoCLIPBackbone', clip=args.clip))
        tower.eval().to(args.device)
        pairs = [(size, boxes) for size in args.sizes for boxes in args.boxes]
        results: List[dict] = [
            time_boxes(args, tower, *pair) for pair in in_turn(pairs, 'Timing')
        ]
    return dict(classifier=classifier, results=results)
