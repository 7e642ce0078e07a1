"""A training step of HarmoCLIP and its parts beside open_clip's own."""

import argparse
import copy
import ctypes
import re
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from open_clip.loss import ClipLoss, SigLipLoss
from open_clip.model import CLIP, CustomTextCLIP
from speed_data import in_turn, seconds_of, write_photos
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from harmoclip_mm.apis import load_config
from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.towers import CLIPSpec
from harmoclip_mm.registry import DATASETS, MODELS

try:
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError:  # torch < 2.3
    plain_attention = partial(
        torch.backends.cuda.sdp_kernel,
        enable_flash=False,
        enable_mem_efficient=False,
    )
else:
    plain_attention = partial(sdpa_kernel, SDPBackend.MATH)

DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)
# What is divided by what, where both were timed.
RATIOS = dict(
    gc_over_open_clip=('gc', 'open_clip'),
    harmoclip_over_gc=('harmoclip_10', 'gc'),
    regions_100_over_1=('harmoclip_100', 'harmoclip_1'),
    few_text_over_gc=('few_text', 'few_gc'),
    crop_over_text=('few_crop', 'few_text'),
    both_over_text=('few_both', 'few_text'),
)


def random_ids(spec: CLIPSpec, sample: dict) -> dict:
    """Stands in for ``TokenizeRegionText``: random ids of the whole context,
    and two tokens of the caption for each phrase."""
    text_cfg, length = spec.model_cfg['text_cfg'], spec.context_length
    count = len(sample['phrases'])
    high = text_cfg.get('vocab_size', 49408)
    ids = torch.randint(3, high, (1 + count, length))
    ids[:, -1] = text_cfg.get('eos_id', high - 1)
    pair, phrase = torch.arange(length) // 2, torch.arange(count)[:, None]
    return dict(
        sample,
        caption_ids=ids[:1],
        phrase_ids=ids[1:],
        phrase_keys=phrase[:, 0],
        lexeme_keys=phrase[:, 0],
        phrase_spans=torch.ones(count, dtype=torch.bool),
        phrase_masks=pair == phrase + 1,
    )


def make_batch(
    model: nn.Module, cfg: Config, batch_size: int, num_regions: int
) -> dict:
    """A batch as the model's ``forward`` takes it.

    Args:
        model (nn.Module): A ``HarmoCLIP``, whose preprocessor is used.
        cfg (Config): Config of CLIP and data loader.
        batch_size (int): Images.
        num_regions (int): Regions of each image.

    Returns:
        dict: ``inputs`` (B, 3, H, W) and ``data_samples``.
    """
    clip, tokenize = cfg.model.clip, partial(random_ids, model.spec)
    try:
        model.spec.tokenizer.ids(['a'])
        tokenize = dict(type='TokenizeRegionText', clip=clip)
    except UsageError:
        pass
    pipeline = [
        dict(type='LoadCheckedImage'),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='CLIPResize', clip=clip, size=model.backbone.img_size),
        tokenize,
        dict(type='PackRegionTextInputs'),
    ]
    with tempfile.TemporaryDirectory() as folder:
        own = write_photos(Path(folder), batch_size, num_regions)
        cfg = dict(type='RegionPhraseDataset', pipeline=pipeline, **own)
        samples = [*DATASETS.build(cfg)]
    return model.data_preprocessor(pseudo_collate(samples), True)


class OpenCLIP(nn.Module):
    """open_clip's own model and loss of a CLIP, over our batches."""

    def __init__(self, spec: CLIPSpec) -> None:
        super().__init__()
        model_cfg = copy.deepcopy(spec.model_cfg)
        model_cfg.pop('custom_text', None)
        self.model = (CustomTextCLIP if spec.custom_text else CLIP)(
            **model_cfg
        )
        self.loss = ClipLoss() if spec.init_bias is None else SigLipLoss()

    def forward(
        self, inputs: Tensor, data_samples: List, mode: str = 'loss'
    ) -> Dict[str, Tensor]:
        """The loss, as ``HarmoCLIP`` gives it."""
        texts = torch.cat([each.caption_ids[:1] for each in data_samples])
        return dict(loss=self.loss(*self.model(inputs, texts)))


class Case:
    """Something to time, and what is known of it.

    Args:
        run (Callable): Runs it once; a training step up to its loss.
        images (int): Images of a training step. Defaults to 0: none.
        flop (int): Its floating point operations, a multiplication and an
            addition being two. Defaults to 0.
    """

    def __init__(
        self, run: Callable[[], Any], images: int = 0, flop: int = 0
    ) -> None:
        self.run, self.images, self.flop = run, images, flop
        self.seconds: List[float] = []
        self.figures: Dict[str, Any] = {}

    def step(self) -> None:
        """Runs it once, with the backward."""
        out = self.run()
        if self.images:
            out.backward()

    def warm_up(self, device: torch.device) -> None:
        """Measures what needs no clock: memory and operations.

        Attention counts in its plain form, which torch counts on every
        device, and in full where a mask is causal.
        """
        self.run()  # drops gradients of before
        if not self.images:
            return
        peak = peak_mb(self.step, device)
        with plain_attention():
            with FlopCounterMode(display=False) as forward:
                loss = self.run()
            with FlopCounterMode(display=False) as backward:
                loss.backward()
        parts = forward.get_total_flops(), backward.get_total_flops()
        self.flop = sum(parts)
        self.figures.update(
            images=self.images,
            gflop_forward=parts[0] / 1e9,
            gflop=self.flop / 1e9,
            peak_mb=peak,
        )

    def finish(self, peaks: List[float]) -> None:
        """Adds the times, held against the operations a second that the
        machine reached in each round."""
        seconds = statistics.median(self.seconds)
        self.figures['seconds'] = seconds
        if self.images:
            shares = [self.flop / s / p for s, p in zip(self.seconds, peaks)]
            self.figures['images_per_second'] = self.images / seconds
            self.figures['utilisation'] = statistics.median(shares)


def peak_mb(
    function: Callable[[], Any], device: torch.device
) -> Optional[float]:
    """Most memory in MB that a call takes beside what was taken before.

    On a CPU it is that of the process, which only Linux tells; elsewhere
    None is returned.
    """
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    before = None
    # getrusage would tell the peak of the process that started this one, too
    status = Path('/proc/self/status')
    peak = re.compile(r'VmHWM:\s*(\d+) kB')
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what is free counts as free
        Path('/proc/self/clear_refs').write_text('5')  # forgets the peak
        before = peak.search(status.read_text())
    except (OSError, AttributeError):
        pass
    function()
    if before is None:
        return None
    after = peak.search(status.read_text())
    return (int(after[1]) - int(before[1])) * 1024 / 1e6


def autocast(device: str, precision: str) -> Any:
    """torch's, for a precision of ``DTYPES``."""
    dtype = DTYPES[precision]
    lower = dtype != torch.float32
    # torch 2.1 refuses float32, though it is not to cast
    return torch.autocast(device, dtype if lower else None, enabled=lower)


def loss_of(model: nn.Module, batch: dict, precision: str) -> Tensor:
    """Drops the gradients and computes the loss, a scalar."""
    model.zero_grad(set_to_none=True)
    with autocast(batch['inputs'].device.type, precision):
        return sum(model(**batch, mode='loss').values())


def build_cases(args: argparse.Namespace, cfg: Config) -> Dict[str, Case]:
    """The steps to time, AdamW's update and a large product, by name."""
    heads = cfg.model.pop('heads')
    cfg.model.pop('predictors', None)
    cfg.model.setdefault('crop_extractor', dict(type='CropFeatureExtractor'))
    models: Dict[str, nn.Module] = {}

    def build(mode: str) -> nn.Module:
        """GC alone, or all heads with a mode of GR, on the same towers."""
        those = copy.deepcopy(heads if mode != 'gc' else dict(gc=heads['gc']))
        for head in those.values():
            if head['type'].endswith('RegionAlignmentHead'):
                head['mode'] = mode
        model = MODELS.build(dict(cfg.model, heads=those))
        for part in ('backbone', 'text_encoder', 'logit_scale'):
            if models:
                setattr(model, part, getattr(models['gc'], part))
        return model.to(args.device).train()

    def step(mode: str, size: int, regions: int) -> Case:
        if mode not in models:
            models[mode] = build(mode)
        batch = make_batch(models['gc'], cfg, size, regions)
        return Case(
            partial(loss_of, models[mode], batch, args.precision), size
        )

    size, few = args.batch_size, args.crop_batch_size
    cases = dict(gc=step('gc', size, 1))
    towers = models['gc']
    # of the gradients that the case before has left
    cases['adamw'] = Case(torch.optim.AdamW(towers.parameters(), lr=0.0).step)
    models['open_clip'] = OpenCLIP(towers.spec).to(args.device).train()
    cases['open_clip'] = step('open_clip', size, 1)
    for regions in args.regions:
        cases[f'harmoclip_{regions}'] = step('text', size, regions)
    for mode in ('gc', 'text', 'crop', 'both') if few else ():
        regions = 1 if mode == 'gc' else args.crop_regions
        cases[f'few_{mode}'] = step(mode, few, regions)
    kind = dict(device=args.device, dtype=DTYPES[args.precision])
    left, right = torch.randn(2, 4096, 4096, **kind)
    product = partial(torch.matmul, left, right)
    cases['product'] = Case(product, flop=2 * 4096**3)
    return cases


def run(args: argparse.Namespace) -> Dict[str, Any]:
    """Times the steps.

    Returns:
        Dict[str, Any]: ``peak_gflops`` a second of a large matrix product,
        ``cases`` and ``ratios`` by name.
    """
    cfg = load_config(args.config, dict(clip=args.clip) if args.clip else None)
    init_default_scope(cfg.get('default_scope', 'harmoclip_mm'))
    if 'gc' not in cfg.model.get('heads', {}):
        raise UsageError(
            f'{args.config} has no model.heads.gc, which everything is '
            'compared with'
        )
    cases = build_cases(args, cfg)
    for case in in_turn(list(cases.values()), 'Warming up'):
        case.warm_up(torch.device(args.device))
    for case in in_turn([*cases.values()] * args.rounds, 'Timing'):
        case.seconds.append(seconds_of(case.step))
    product = cases.pop('product')
    peaks = [product.flop / each for each in product.seconds]
    for case in cases.values():
        case.finish(peaks)
    ratios = {}
    for name, pair in RATIOS.items():
        if all(each in cases for each in pair):
            rounds = zip(*(cases[each].seconds for each in pair))
            ratios[name] = statistics.median(a / b for a, b in rounds)
    return dict(
        peak_gflops=statistics.median(peaks) / 1e9,
        cases={name: case.figures for name, case in cases.items()},
        ratios=ratios,
    )
