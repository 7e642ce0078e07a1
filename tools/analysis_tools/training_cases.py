"""What ``benchmark_training.py`` times: one batch, and the steps over it."""

import copy
import statistics
import time
from typing import Callable, Dict, List, Optional, Tuple

import numpy as np
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from operations import count_operations
from timing import wait
from torch import Tensor, nn

from harmoclip_mm.datasets.transforms import (
    PackRegionTextInputs,
    TokenizeRegionText,
)
from harmoclip_mm.models import HarmoCLIP
from harmoclip_mm.registry import MODELS

# Words that COCO's captions are full of: what phrases look like there.
THINGS = (
    'dog',
    'cat',
    'red car',
    'small bus',
    'tall man',
    'young woman',
    'pizza',
    'wooden chair',
    'laptop',
    'white bird',
    'surfboard',
    'clock tower',
    'traffic light',
    'brown horse',
    'sheep',
    'umbrella',
)


def draw_sample(
    rng: np.random.RandomState, size: Tuple[int, int], num_regions: int
) -> dict:
    """One sample before its texts are tokenised.

    Args:
        rng (np.random.RandomState): Source of all that is random.
        size (Tuple[int, int]): Width and height in pixels.
        num_regions (int): Regions; they share the caption's three phrases.

    Returns:
        dict: What a pipeline holds after loading and resizing: noise for an
        image, a caption of about 14 words, boxes of 1/12 to 1/3 of a side.
    """
    phrases = [THINGS[i] for i in rng.choice(len(THINGS), 3, replace=False)]
    caption = 'a {} next to a {} and a {} on the street'.format(*phrases)
    sides = np.array(size)
    corner = rng.rand(num_regions, 2) * sides * 2 / 3
    extent = (1 / 12 + rng.rand(num_regions, 2) / 4) * sides
    bboxes = np.concatenate([corner, corner + extent], axis=1)
    starts = [caption.index(phrase) for phrase in phrases]
    return dict(
        img=rng.randint(0, 256, (size[1], size[0], 3), dtype=np.uint8),
        caption=caption,
        phrases=phrases,
        tokens_positive=[
            [[start, start + len(phrase)]]
            for start, phrase in zip(starts, phrases)
        ],
        gt_bboxes=HorizontalBoxes(bboxes.astype(np.float32)),
        gt_bboxes_labels=np.arange(num_regions) % 3,
        gt_ignore_flags=np.zeros(num_regions, dtype=bool),
        img_path='',
        img_id=0,
        ori_shape=(size[1], size[0]),
        img_shape=(size[1], size[0]),
        scale_factor=(1.0, 1.0),
    )


def make_batch(
    model: HarmoCLIP,
    batch_size: int,
    num_regions: int,
    size: Tuple[int, int],
    collate_fn: Optional[dict] = None,
) -> dict:
    """A batch as the model's ``forward`` takes it.

    Args:
        model (HarmoCLIP): Its data preprocessor is used.
        batch_size (int): Images.
        num_regions (int): Regions of each image.
        size (Tuple[int, int]): Width and height in pixels.
        collate_fn (dict, optional): Config of the data loader's.

    Returns:
        dict: ``inputs`` (B, 3, H, W) and ``data_samples``.
    """
    rng = np.random.RandomState(0)
    tokenize, pack = TokenizeRegionText(), PackRegionTextInputs()
    samples = [
        pack(tokenize(draw_sample(rng, size, num_regions)))
        for _ in range(batch_size)
    ]
    collate = FUNCTIONS.get(collate_fn['type']) if collate_fn else None
    return model.data_preprocessor((collate or pseudo_collate)(samples), True)


class Models:
    """Models of all cases, on the same two towers.

    Args:
        cfg (Config): Config of a model that has a GC head.
        device (torch.device): Where they live.
        compile_towers (bool): Whether ``torch.compile`` is tried on the
            towers' blocks.
    """

    def __init__(
        self, cfg: Config, device: torch.device, compile_towers: bool = False
    ) -> None:
        self.cfg = copy.deepcopy(cfg.model)
        self.cfg.pop('classifier', None)
        self.device = device
        self.heads = self.cfg.pop('heads')
        self.towers = self._build({})
        self.towers.init_weights()
        if compile_towers:
            for tower in (self.towers.backbone, self.towers.text_encoder):
                for layer in tower.layers:
                    layer.compile()

    def _build(self, heads: Dict[str, dict]) -> HarmoCLIP:
        cfg = dict(self.cfg, heads=heads)
        size = cfg['backbone'].get('img_size', 224)
        cfg.setdefault(
            'crop_extractor', dict(type='CropFeatureExtractor', crop_size=size)
        )
        return MODELS.build(cfg).to(self.device).train()

    def clip(self) -> HarmoCLIP:
        """The GC head alone."""
        return self._on_towers(dict(gc=self.heads['gc']))

    def harmoclip(self, gr_mode: str = 'text') -> HarmoCLIP:
        """All heads of the config, with the given mode of GR."""
        heads = copy.deepcopy(self.heads)
        for head in heads.values():
            if head['type'].endswith('RegionAlignmentHead'):
                head['mode'] = gr_mode
        return self._on_towers(heads)

    def _on_towers(self, heads: Dict[str, dict]) -> HarmoCLIP:
        model = self._build(heads)
        for name in ('backbone', 'text_encoder', 'logit_scale'):
            setattr(model, name, getattr(self.towers, name))
        return model


class OpenCLIP(nn.Module):
    """open_clip's own model and loss over our batches.

    Args:
        name (str): Name of the model in open_clip.
        device (torch.device): Where it lives.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        super().__init__()
        import open_clip
        from open_clip.loss import ClipLoss

        self.model = open_clip.create_model(name, device=device).train()
        self.loss = ClipLoss()

    def forward(
        self, inputs: Tensor, data_samples: List, mode: str = 'loss'
    ) -> Dict[str, Tensor]:
        """Returns the loss, as :class:`HarmoCLIP` does."""
        texts = torch.cat([each.caption_ids[:1] for each in data_samples])
        image, text, scale = self.model(inputs, texts)[:3]
        return dict(loss=self.loss(image, text, scale))


class Step:
    """Forward, loss and backward of one batch, without the optimizer.

    Args:
        model (nn.Module): A :class:`HarmoCLIP` or :class:`OpenCLIP`.
        batch (dict): See :func:`make_batch`.
        dtype (torch.dtype): float32, or what autocast shall compute in.
    """

    def __init__(
        self, model: nn.Module, batch: dict, dtype: torch.dtype
    ) -> None:
        self.model = model
        self.batch = batch
        self.dtype = dtype

    def forward(self) -> Tensor:
        """Drops the gradients and computes the loss, a scalar."""
        device = self.batch['inputs'].device.type
        lower = self.dtype != torch.float32
        self.model.zero_grad(set_to_none=True)
        with torch.autocast(device, self.dtype, enabled=lower):
            losses = self.model(**self.batch, mode='loss')
        return sum(losses.values())

    def __call__(self) -> None:
        """Runs the step."""
        self.forward().backward()


class Case:
    """A step and what is known of it.

    Args:
        name (str): Its name.
        run (Callable): A :class:`Step`, or anything else of known ``flop``.
        images (int): Images of its batch; 0 if it has none.
        flop (int, optional): Floating point operations, if known already.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[], None],
        images: int = 0,
        flop: Optional[int] = None,
    ) -> None:
        self.name = name
        self.run = run
        self.images = images
        self.flop = flop
        self.forward_flop: Optional[int] = None
        self.seconds: List[float] = []

    def warm_up(self) -> None:
        """Run once and count the operations, if nobody knows them."""
        if self.flop is not None:
            self.run()
            return
        with count_operations() as forward:
            loss = self.run.forward()
        with count_operations() as backward:
            loss.backward()
        self.forward_flop = forward.get_total_flops()
        self.flop = self.forward_flop + backward.get_total_flops()

    def time(self) -> None:
        """Run once and keep the time."""
        wait()
        start = time.perf_counter()
        self.run()
        wait()
        self.seconds.append(time.perf_counter() - start)

    def over(self, other: 'Case') -> float:
        """Median over the rounds of this case's time by the other's."""
        ratios = [a / b for a, b in zip(self.seconds, other.seconds)]
        return statistics.median(ratios)

    def summary(self) -> Dict[str, float]:
        """Median seconds, images a second and operations."""
        median = statistics.median(self.seconds)
        found = dict(seconds=median, gflop=self.flop / 1e9)
        if self.forward_flop is not None:
            backward = self.flop - self.forward_flop
            found['gflop_forward'] = self.forward_flop / 1e9
            found['gflop_backward'] = backward / 1e9
        if self.images:
            found['images_per_second'] = self.images / median
        return found


def make_product(
    rows: int, inner: int, columns: int, dtype: torch.dtype, device: str
) -> Tuple[Callable[[], None], int]:
    """A matrix product, and its floating point operations.

    Args:
        rows (int): Rows of the left matrix.
        inner (int): Its columns.
        columns (int): Columns of the right matrix.
        dtype (torch.dtype): Of both.
        device (str): Of both.

    Returns:
        tuple[Callable, int]: The product and ``2 * rows * inner * columns``.
    """
    left = torch.randn(rows, inner, device=device).to(dtype)
    right = torch.randn(inner, columns, device=device).to(dtype)
    return lambda: left @ right, 2 * rows * inner * columns
