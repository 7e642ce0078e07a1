"""onnxruntime gives torch's numbers, with and without torch at hand."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox2roi
from PIL import Image
from tiny_clips import ALL, VIT, shake

from harmoclip_mm import export_clip
from harmoclip_mm.apis import export_onnx
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.registry import MODELS

pytest.importorskip('onnx', reason='ONNX export needs the package onnx')
onnxruntime = pytest.importorskip(
    'onnxruntime', reason='there is no onnxruntime to compare with'
)
ROOT = Path(__file__).resolve().parents[2]
TEXTS = ['a dog', '', "it's a red car, isn't it? " * 20]


def build(clip, **backbone):
    cfg = dict(type='harmoclip_mm.HarmoCLIP', clip=clip, backbone=backbone)
    return shake(MODELS.build(cfg)).eval()


@pytest.mark.parametrize('name', ALL)
@torch.no_grad()
def test_numbers_at_every_size(name, tmp_path):
    model = build(ALL[name])
    export_onnx(model, str(tmp_path))

    def run(part, **inputs):
        session = onnxruntime.InferenceSession(str(tmp_path / f'{part}.onnx'))
        inputs = {key: each.numpy() for key, each in inputs.items()}
        return [torch.from_numpy(each) for each in session.run(None, inputs)]

    native = model.backbone.img_size
    for size in [(1, *native), (3, 96, 160), (2, 41, 77)]:
        img = torch.randn(size[0], 3, *size[1:])
        image, dense = run('vision', img=img)
        assert (image - model.encode_image(img)).abs().max() < 1e-4
        assert (dense - model.encode_dense(img)).abs().max() < 1e-4
        boxes = [
            torch.tensor([[0.0, 0, 20, 30], [-5, 3, 200, 35], [9, 9, 9.5, 12]])
        ] * size[0]
        (rows,) = run('regions', dense=dense, rois=bbox2roi(boxes))
        expected = torch.cat(model.encode_regions(img, boxes))
        assert (rows - expected).abs().max() < 1e-4
    ids = model.text_encoder.tokenizer.ids(TEXTS)
    expected = model.encode_text(TEXTS)
    assert (run('text', ids=ids)[0] - expected).abs().max() < 1e-4
    if model.text_encoder.text.attn_mask is not None:
        alone = run('text', ids=ids[:1, :5])[0]
        assert (alone - expected[:1]).abs().max() < 1e-4


@torch.no_grad()
def test_the_script_of_the_documentation_without_torch(tmp_path, run_tool):
    model = build(dict(VIT, embed_dim=24))
    export_clip(model, str(tmp_path / 'clip'))
    tool = 'model_converters/export_onnx.py'
    run_tool(tool, tmp_path / 'clip', tmp_path / 'onnx')
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    photo = tmp_path / 'photo.png'
    Image.fromarray(pixels).save(photo)
    text = (ROOT / 'docs' / 'inference.md').read_text()
    (script,) = re.findall(
        r'test_onnx_export.*?```python\n(.*?)```', text, re.S
    )
    file = tmp_path / 'script.py'
    file.write_text(
        'import sys\n'
        "sys.modules['torch'] = sys.modules['harmoclip_mm'] = None\n" + script
    )
    words = ['dog', 'red car', 'tree']
    said = subprocess.run(
        [sys.executable, file, tmp_path / 'onnx', photo, *words],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    height, width = model.backbone.img_size
    resized = Image.open(photo).resize((width, height), Image.BICUBIC)
    pixels = np.asarray(resized) / 255
    pixels = (pixels - np.array(model.spec.mean)) / np.array(model.spec.std)
    img = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    box = torch.tensor([[0.0, 0.0, width, height / 2]])
    (row,) = model.encode_regions(img, [box])
    texts = model.encode_text([f'a photo of a {word}.' for word in words])
    scale = model.logit_scale()[0]
    for place, rows, line in zip(
        ('image', 'upper half'), (model.encode_image(img), row), said
    ):
        scores = (scale * rows @ texts.T).softmax(1)[0]
        found = torch.tensor([float(n) for n in line[len(place) :].split()])
        assert line.startswith(place)
        assert (found - scores).abs().max() < 2e-4


@pytest.mark.parametrize(
    'model, words',
    [
        (lambda: build(VIT, window_size=2), 'attention in windows'),
        (
            lambda: MODELS.build(
                dict(
                    type='harmoclip_mm.HarmoCLIP',
                    clip=VIT,
                    region_extractor=dict(
                        type='harmoclip_mm.MaskFeatureExtractor'
                    ),
                )
            ),
            'MaskFeatureExtractor',
        ),
    ],
    ids=['windows', 'masks'],
)
def test_what_does_not_export_is_told(model, words, tmp_path):
    with pytest.raises(CheckpointError, match=words):
        export_onnx(model(), str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_exporter_is_left_as_it_was(tmp_path):
    from timm.layers import pos_embed_sincos

    before = pos_embed_sincos.rot
    model = build(ALL['eva02'])
    img = torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        expected = model.encode_image(img)
        export_onnx(model, str(tmp_path))
        assert pos_embed_sincos.rot is before
        assert (model.encode_image(img) == expected).all()
