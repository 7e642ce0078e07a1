"""A CLIP as ONNX, for machines without torch."""

import copy
import inspect
import json
import os
import os.path as osp
from typing import Any, Dict, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox2roi
from mmengine.logging import print_log
from torch import Tensor, nn

from harmoclip_mm.errors import CheckpointError, UsageError
from harmoclip_mm.files import replacing
from harmoclip_mm.models import HarmoCLIP
from harmoclip_mm.models.region_extractors import RoIFeatureExtractor
from harmoclip_mm.models.towers.onnx_symbols import OPSET, exportable
from harmoclip_mm.models.towers.text_encoder import HFTextEncoder

_TOLERANCE = 1e-4
_LARGEST = 2**31 - 2**20  # bytes of a protobuf file


class _Vision(nn.Module):
    """Images (B, 3, H, W) -> embeddings (B, D), dense maps (B, D, h, w)."""

    def __init__(self, model: HarmoCLIP) -> None:
        super().__init__()
        # timm's rotary positions remember the last size, here a traced one
        self.backbone = copy.deepcopy(model.backbone)

    def forward(self, img: Tensor) -> Tuple[Tensor, Tensor]:
        found = self.backbone.encode(img)
        dense = F.normalize(found.dense, dim=1)
        return F.normalize(found.pooled, dim=-1), dense


class _Text(nn.Module):
    """Token ids (N, L) -> embeddings (N, D)."""

    def __init__(self, model: HarmoCLIP) -> None:
        super().__init__()
        self.text_encoder = model.text_encoder

    def forward(self, ids: Tensor) -> Tensor:
        found = self.text_encoder(ids, with_tokens=False, length=ids.shape[1])
        return F.normalize(found.pooled, dim=-1)


class _Regions(nn.Module):
    """Dense maps (B, D, h, w), boxes (R, 5) in pixels -> features (R, D)."""

    def __init__(self, model: HarmoCLIP) -> None:
        super().__init__()
        self.extractor = model.region_extractor
        self.stride = model.backbone.patch_size

    def forward(self, dense: Tensor, rois: Tensor) -> Tensor:
        dense = self.extractor.prepare(dense)
        return self.extractor.pool(dense, rois, self.stride)


_AXES = dict(
    img={0: 'images', 2: 'height', 3: 'width'},
    image={0: 'images'},
    dense={0: 'images', 2: 'rows', 3: 'columns'},
    ids={0: 'texts', 1: 'tokens'},
    text={0: 'texts'},
    rois={0: 'regions'},
    regions={0: 'regions'},
)


def export_onnx(model: HarmoCLIP, folder: str) -> None:
    """Writes a model as ONNX, with all that its inputs are made by.

    The folder gets, all outputs L2-normalised and in float32:

    - ``vision.onnx``: ``img`` (B, 3, H, W) -> ``image`` (B, D), ``dense``
      (B, D, h, w), for any B, H and W;
    - ``text.onnx``: ``ids`` (N, L) int64 -> ``text`` (N, D);
    - ``regions.onnx``: ``dense`` (B, D, h, w), ``rois`` (R, 5) of image
      index and xyxy in pixels of ``img`` -> ``regions`` (R, D);
    - ``clip.json``: sizes, normalisation, scale and bias of the scores;
    - ``tokenizer.json`` for the library ``tokenizers``, where it makes the
      same ids.

    Where onnxruntime is installed, its numbers are compared with torch's, at
    sizes other than those of the tracing.

    Args:
        model (HarmoCLIP): The model, on the CPU.
        folder (str): Folder to write, which is made.

    Raises:
        UsageError: If the package onnx is missing.
        CheckpointError: If the model does not export: windows, a text tower
            of Hugging Face, another extractor than ``RoIFeatureExtractor``,
            a tower of more than 2 GB; or if numbers differ.
    """
    try:
        import onnx  # noqa: F401  torch asks for it halfway
    except ImportError as error:
        raise UsageError(
            'ONNX export needs the package onnx: pip install onnx onnxruntime'
        ) from error
    _check_exports(model)
    folder = osp.expanduser(folder)
    cell = model.backbone.patch_size
    # No size of the CLIP's own and no whole cells: then nothing that depends
    # on the size is traced as a constant or left out.
    img = torch.zeros(2, 3, 3 * cell + 1, 5 * cell + 2)
    dense = torch.rand(2, model.backbone.out_dims, 4, 6)
    rois = torch.tensor([[0.0, 0.0, 0.0, 2.0 * cell, 2.0 * cell]])
    ids = model.text_encoder.tokenizer.ids(['a dog', 'two red cars'])
    _write(_Vision(model), folder, 'vision', dict(img=img), ('image', 'dense'))
    _write(_Text(model), folder, 'text', dict(ids=ids), ('text',))
    inputs = dict(dense=dense, rois=rois)
    _write(_Regions(model), folder, 'regions', inputs, ('regions',))
    tokenizer = model.text_encoder.tokenizer.portable()
    if tokenizer is None:
        print_log(
            f'{folder} gets no tokenizer.json: the library tokenizers alone '
            f'makes other ids than {model.spec.name} reads.',
            logger='current',
        )
    else:
        with replacing(osp.join(folder, 'tokenizer.json')) as part:
            tokenizer.save(part)
    with replacing(osp.join(folder, 'clip.json')) as part, open(
        part, 'w', encoding='utf-8'
    ) as file:
        json.dump(_facts(model), file, indent=2)
    _compare(model, folder)


def _facts(model: HarmoCLIP) -> Dict[str, Any]:
    spec = model.spec
    scale, bias = model.logit_scale()
    return dict(
        name=spec.name,
        image_size=list(model.backbone.img_size),
        cell_size=model.backbone.patch_size,
        mean=list(spec.mean),
        std=list(spec.std),
        interpolation=spec.interpolation,
        resize_mode=spec.resize_mode,
        context_length=spec.context_length,
        logit_scale=scale.item(),
        logit_bias=None if bias is None else bias.item(),
        opset=OPSET,
    )


def _check_exports(model: HarmoCLIP) -> None:
    extractor, reason = model.region_extractor, None
    if model.backbone.window_size:
        reason = 'attention in windows (load it with window_size=0)'
    elif isinstance(model.text_encoder.text, HFTextEncoder):
        reason = 'a text tower of Hugging Face'
    elif type(extractor) is not RoIFeatureExtractor:
        reason = f'the region extractor {type(extractor).__name__}'
    if reason:
        raise CheckpointError(
            f'{model.spec.name} has {reason}, which does not export to ONNX.'
        )
    for name in ('backbone', 'text_encoder'):
        weights = getattr(model, name).parameters()
        size = sum(each.numel() * each.element_size() for each in weights)
        if size > _LARGEST:
            raise CheckpointError(
                f'the {name} of {model.spec.name} has {size / 2**30:.1f} GiB '
                'of weights, but an ONNX file holds 2 at most.'
            )


def _write(
    module: nn.Module,
    folder: str,
    name: str,
    inputs: Dict[str, Tensor],
    outputs: Sequence[str],
) -> None:
    # torch's newer exporter compares sizes, and so fixes them
    known = inspect.signature(torch.onnx.export).parameters
    options = dict(dynamo=False) if 'dynamo' in known else {}
    axes = {key: _AXES[key] for key in (*inputs, *outputs)}
    path = osp.join(folder, f'{name}.onnx')
    with replacing(path) as part, exportable(), torch.no_grad():
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            part,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            **options,
        )


@torch.no_grad()
def _compare(model: HarmoCLIP, folder: str) -> None:
    """Compares onnxruntime with torch."""
    try:
        import onnxruntime
    except ImportError:
        return

    def run(name: str, **inputs: Tensor) -> Sequence[np.ndarray]:
        session = onnxruntime.InferenceSession(
            osp.join(folder, f'{name}.onnx'),
            providers=['CPUExecutionProvider'],
        )
        return session.run(
            None, {key: value.numpy() for key, value in inputs.items()}
        )

    cell = model.backbone.patch_size
    height, width = 4 * cell, 7 * cell - 1
    img = torch.randn(1, 3, height, width, generator=torch.Generator())
    boxes = [torch.tensor([[0.0, 0, width, height], [5, 5, 9, 12]])]
    texts = ['a red car', 'a dog that sleeps', '']
    image, dense = run('vision', img=img)
    ours = dict(
        image=(image, model.encode_image(img)),
        dense=(dense, model.encode_dense(img)),
        text=(
            *run('text', ids=model.text_encoder.tokenizer.ids(texts)),
            model.encode_text(texts),
        ),
        regions=(
            *run(
                'regions', dense=torch.from_numpy(dense), rois=bbox2roi(boxes)
            ),
            model.encode_regions(img, boxes)[0],
        ),
    )
    apart = {k: abs(a - b.numpy()).max() for k, (a, b) in ours.items()}
    worst = max(apart, key=apart.get)
    if not apart[worst] < _TOLERANCE:
        for name in ('vision', 'text', 'regions'):  # nobody is to use them
            os.remove(osp.join(folder, f'{name}.onnx'))
        raise CheckpointError(
            f'onnxruntime and torch differ by {apart[worst]:.2g} in {worst} '
            f'of {model.spec.name}, so it does not export to ONNX.'
        )
    print_log(
        f'onnxruntime and torch differ by {apart[worst]:.1g} at most.',
        logger='current',
    )
