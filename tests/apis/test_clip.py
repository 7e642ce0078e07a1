"""What ``export_clip`` writes is loaded by the libraries it is for."""

import copy
import json

import pytest
import torch
from mmengine.registry import init_default_scope

import harmoclip_mm
from harmoclip_mm import export_clip, load_clip
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.registry import MODELS

TEXTS = ['a dog', "a photo of a red star, isn't it?", '', 'word ' * 100]
IMAGE_SIZE = 64
VISION = dict(
    type='HarmoCLIPViT',
    arch=dict(
        embed_dims=96, num_layers=2, num_heads=3, feedforward_channels=200
    ),
    img_size=IMAGE_SIZE,
    patch_size=16,
    out_dims=24,
)
EVA = dict(VISION, type='HarmoCLIPEVA02')


def build(vision=None, acts=('harmoclip_mm.QuickGELU',) * 2, **kwargs):
    init_default_scope('harmoclip_mm')
    vision = copy.deepcopy(vision or VISION)
    if vision['type'] == 'HarmoCLIPViT':
        vision['act_cfg'] = dict(type=acts[0])
    model = MODELS.build(
        dict(
            type='HarmoCLIP',
            data_preprocessor=dict(
                type='mmdet.DetDataPreprocessor',
                mean=[127.5, 127.5, 127.5],
                std=[51.0, 51.0, 51.0],
            ),
            backbone=vision,
            text_encoder=dict(
                type='CLIPTextTransformer',
                embed_dims=48,
                num_layers=2,
                num_heads=3,
                feedforward_channels=100,
                out_dims=24,
                act_cfg=dict(type=acts[1]),
            ),
            heads=dict(
                lrc=dict(type='RegionPhraseHead', temperature='own'),
            ),
            **kwargs,
        )
    )
    model.init_weights()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def relative(one, other):
    return ((one - other).abs().max() / other.abs().max()).item()


@pytest.fixture
def img():
    return torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE)


@pytest.mark.parametrize('act', ['harmoclip_mm.QuickGELU', 'GELU'])
@torch.no_grad()
def test_open_clip_loads_the_folder(tmp_path, img, act):
    open_clip = pytest.importorskip('open_clip')
    model = build(acts=(act, act))
    path = str(tmp_path / 'out')
    export_clip(model, path)
    theirs, _, preprocess = open_clip.create_model_and_transforms(
        f'local-dir:{path}'
    )
    theirs.eval()
    ids = open_clip.get_tokenizer(f'local-dir:{path}')(TEXTS)
    image = theirs.encode_image(img, normalize=True)
    text = theirs.encode_text(ids, normalize=True)
    assert relative(model.encode_image(img), image) < 1e-5
    assert relative(model.encode_text(TEXTS), text) < 1e-5
    scale = theirs.logit_scale.exp().clamp(max=100)
    assert relative(model.logit_scale(), scale) < 1e-5
    normalise = preprocess.transforms[-1]
    assert list(normalise.mean) == [0.5] * 3
    assert list(normalise.std) == [0.2] * 3


@pytest.mark.parametrize('suffix', ['pt', 'safetensors'])
@torch.no_grad()
def test_open_clip_loads_the_file(tmp_path, img, suffix):
    factory = pytest.importorskip('open_clip.factory')
    model = build()
    path = str(tmp_path / f'weights.{suffix}')
    export_clip(model, path)
    export_clip(model, str(tmp_path / 'folder'))
    theirs = factory.create_model(
        f'local-dir:{tmp_path / "folder"}', load_weights=False
    ).eval()
    factory.load_checkpoint(theirs, path)
    image = theirs.encode_image(img, normalize=True)
    assert relative(model.encode_image(img), image) < 1e-5


@pytest.mark.parametrize(
    'acts', [('harmoclip_mm.QuickGELU', 'GELU'), ('GELU', 'GELU')]
)
@torch.no_grad()
def test_transformers_loads_the_folder(tmp_path, img, acts):
    transformers = pytest.importorskip('transformers')
    model = build(acts=acts)
    path = str(tmp_path / 'out')
    export_clip(model, path, format='huggingface')
    theirs, info = transformers.CLIPModel.from_pretrained(
        path, output_loading_info=True
    )
    assert not any(info.values()), info
    processor = transformers.CLIPProcessor.from_pretrained(path)
    ids = processor.tokenizer(
        TEXTS, padding=True, truncation=True, return_tensors='pt'
    )
    image = theirs.get_image_features(img)
    text = theirs.get_text_features(**ids)
    assert (
        relative(
            model.encode_image(img), image / image.norm(dim=-1, keepdim=True)
        )
        < 1e-5
    )
    assert (
        relative(
            model.encode_text(TEXTS), text / text.norm(dim=-1, keepdim=True)
        )
        < 1e-5
    )
    assert processor.image_processor.image_mean == [0.5] * 3
    assert processor.image_processor.crop_size == dict(height=64, width=64)


@pytest.mark.parametrize('format', ['open_clip', 'huggingface'])
def test_there_and_back_is_exact(tmp_path, format):
    model = build()
    export_clip(model, str(tmp_path / 'out'), format=format)
    back = load_clip(str(tmp_path / 'out'))
    expected = {
        name: value
        for name, value in model.state_dict().items()
        if not name.startswith('heads.')
    }
    torch.testing.assert_close(
        dict(back.state_dict()), expected, rtol=0, atol=0
    )
    assert back.checkpoint_info['activation'] == 'quick_gelu'
    torch.testing.assert_close(
        back.data_preprocessor.mean, model.data_preprocessor.mean
    )


@pytest.mark.parametrize('vision', [VISION, EVA], ids=['vit', 'eva02'])
def test_own_files_keep_what_shapes_do_not_say(tmp_path, img, vision):
    vision = dict(vision, img_size=(32, 64), dense_mode='token')
    if vision['type'] == 'HarmoCLIPEVA02':
        vision['arch'] = dict(vision['arch'], embed_dims=96, num_heads=6)
    model = build(vision, acts=('GELU', 'harmoclip_mm.QuickGELU'))
    path = str(tmp_path / 'own.pth')
    export_clip(model, path, format='harmoclip_mm')
    back = load_clip(path)
    with torch.no_grad():
        one, other = back.encode_dense(img), model.encode_dense(img)
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        one, other = back.encode_text(TEXTS), model.encode_text(TEXTS)
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_checkpoint_of_the_runner_knows_its_config(tmp_path):
    """Read as text: heads, activation; nothing of it is run or built."""
    model = build(acts=('GELU', 'GELU'))
    text = (
        'import os\nwork_dir = os.mkdir("never")\n'
        "model = dict(type='HarmoCLIP', backbone=dict(arch=dict(num_heads=3), "
        "act_cfg=dict(type='GELU'), out_indices=range(3)), "
        "text_encoder=dict(num_heads=3, act_cfg=dict(type='GELU')), "
        "classifier=dict(type='os.mkdir', path='never'))\n"
    )
    path = str(tmp_path / 'epoch_1.pth')
    torch.save(
        dict(
            meta=dict(cfg=text, epoch=1),
            state_dict=model.state_dict(),
            optimizer=dict(state={}),
        ),
        path,
    )
    back = load_clip(path)
    assert back.checkpoint_info['activation'] == 'gelu'
    with torch.no_grad():
        one, other = back.encode_text(TEXTS), model.encode_text(TEXTS)
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert back.classifier is None


def test_what_a_format_has_no_place_for(tmp_path):
    path = str(tmp_path / 'out')
    with pytest.raises(CheckpointError, match='no EVA-02 tower'):
        export_clip(build(EVA), path, 'huggingface')
    with pytest.raises(CheckpointError, match='from timm, which has B/16'):
        export_clip(build(EVA), path)
    with pytest.raises(CheckpointError, match='one activation for both'):
        export_clip(build(acts=('GELU', 'harmoclip_mm.QuickGELU')), path)
    odd = build(dict(VISION, img_size=(32, 64)))
    with pytest.raises(CheckpointError, match='square images only'):
        export_clip(odd, path, 'huggingface')
    with pytest.raises(CheckpointError, match='choose one of open_clip'):
        export_clip(odd, path, 'onnx')
    with pytest.raises(CheckpointError, match='leave the suffix out'):
        export_clip(odd, path + '.pt', 'huggingface')
    assert not (tmp_path / 'out').exists()
    export_clip(build(EVA), path + '.pt')  # weights alone have a place
    assert 'visual.trunk.head.bias' in torch.load(path + '.pt')


def test_the_names_at_the_top():
    assert harmoclip_mm.load_clip is load_clip
    assert {'load_clip', 'export_clip'} <= set(dir(harmoclip_mm))
    with pytest.raises(AttributeError, match="no attribute 'load_clop'"):
        harmoclip_mm.load_clop  # noqa: B018


def test_nothing_of_a_model_is_imported_before_it_is_asked_for():
    import subprocess
    import sys

    code = (
        'import sys, harmoclip_mm; '
        'assert "harmoclip_mm.models" not in sys.modules; '
        'harmoclip_mm.load_clip; assert "harmoclip_mm.models" in sys.modules'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_configs_are_readable(tmp_path):
    export_clip(build(), str(tmp_path), 'huggingface')
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['vision_config']['num_attention_heads'] == 3
    assert not list(tmp_path.glob('*.part'))
