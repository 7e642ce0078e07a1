"""The architectures that people use, at full size, against open_clip."""

import gc

import pytest
import torch
from references import randomised

from harmoclip_mm import export_clip, load_clip
from harmoclip_mm.models.checkpoints import ARCHITECTURES, read_checkpoint
from harmoclip_mm.text import CLIPTokenizer

open_clip = pytest.importorskip('open_clip')
pytestmark = pytest.mark.slow
NAMES = (
    'ViT-B-32-quickgelu',
    'ViT-B-16-quickgelu',
    'ViT-L-14-336-quickgelu',
    'EVA02-B-16',
    'EVA02-L-14-336',
)
TEXTS = ['a photo of a dog', 'a blue ring beside a red star']


def relative(one, other):
    return ((one - other).abs().max() / other.abs().max()).item()


@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_equal_to_open_clip(tmp_path, name):
    theirs = randomised(open_clip.create_model(name, pretrained=None))
    path = tmp_path / f'{name}.pt'
    torch.save(theirs.state_dict(), path)
    ours = load_clip(str(path), arch=name)
    assert ours.checkpoint_info['arch'] == name.replace('-quickgelu', '')
    quick = name.endswith('-quickgelu')
    act = ours.checkpoint_info['activation']
    assert act == ('quick_gelu' if quick else 'gelu')
    side = ours.backbone.patch_resolution[0] * ours.backbone.patch_size
    img = torch.randn(1, 3, side, side)
    pooled = ours.backbone.encode(img, with_dense=False).pooled
    assert relative(pooled, theirs.encode_image(img)) < 1e-5
    text = theirs.encode_text(CLIPTokenizer()(TEXTS), normalize=True)
    assert relative(ours.encode_text(TEXTS), text) < 1e-5
    # every map: the tower of EVA-02 is timm's, one level deeper
    tower = getattr(theirs.visual, 'trunk', theirs.visual)
    depth = len(ours.backbone.layers)
    maps = tower.forward_intermediates(
        img, indices=depth, intermediates_only=True, output_fmt='NCHW'
    )
    if isinstance(maps, dict):
        maps = maps['image_intermediates']
    ours.backbone.out_indices = list(range(depth))
    errors = [relative(*pair) for pair in zip(ours.backbone(img), maps)]
    assert len(errors) == depth and max(errors) < 1e-5
    # and back again, to the last bit
    del maps
    export_clip(ours, str(tmp_path / 'out'))
    del ours
    gc.collect()
    exported = read_checkpoint(str(tmp_path / 'out')).state_dict
    expected = theirs.state_dict()
    assert set(exported) == set(expected)
    assert all(torch.equal(exported[key], expected[key]) for key in expected)


@pytest.mark.parametrize('size', [448, (224, 336)])
@torch.no_grad()
def test_other_sizes_resize_as_open_clip(tmp_path, size):
    """B/16 learned at 224 px and used at another size, in both libraries."""
    name = 'ViT-B-16-quickgelu'
    learned = randomised(open_clip.create_model(name, pretrained=None))
    path = tmp_path / f'{name}.pt'
    torch.save(learned.state_dict(), path)
    theirs = open_clip.create_model(
        name, pretrained=str(path), force_image_size=size
    ).eval()
    ours = load_clip(str(path))
    height, width = (size, size) if isinstance(size, int) else size
    img = torch.randn(1, 3, height, width)
    pooled = ours.backbone.encode(img, with_dense=False).pooled
    assert relative(pooled, theirs.encode_image(img)) < 1e-5


@torch.no_grad()
def test_equal_to_transformers_and_back(tmp_path):
    transformers = pytest.importorskip('transformers')
    config = transformers.CLIPConfig()  # B/32
    theirs = randomised(transformers.CLIPModel(config))
    theirs.save_pretrained(tmp_path / 'in')
    ours = load_clip(str(tmp_path / 'in'), arch='ViT-B-32')
    img = torch.randn(1, 3, 224, 224)
    ids = CLIPTokenizer()(TEXTS)
    image, text = theirs.get_image_features(img), theirs.get_text_features(ids)
    assert relative(ours.backbone.encode(img).pooled, image) < 1e-5
    assert relative(ours.text_encoder(ids).pooled, text) < 1e-5
    export_clip(ours, str(tmp_path / 'out'), 'huggingface')
    back = transformers.CLIPModel.from_pretrained(tmp_path / 'out').eval()
    assert relative(back.get_image_features(img), image) < 1e-5
    assert relative(back.get_text_features(ids), text) < 1e-5
    found, expected = back.state_dict(), theirs.state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_names_agree_with_open_clips_configs(name):
    """Widths and depths of our table against open_clip's files."""
    config = open_clip.get_model_config(name)
    eva, dims, depth, heads, patch, size, out_dims, *text = ARCHITECTURES[name]
    vision = config['vision_cfg']
    assert (config['embed_dim'], vision['image_size']) == (out_dims, size)
    assert text == [
        config['text_cfg'][key] for key in ('width', 'layers', 'heads')
    ]
    if eva:
        assert vision['timm_model_name'].startswith('eva02_')
        assert f'patch{patch}' in vision['timm_model_name']
        return
    width = vision['width']
    assert (width, vision['layers'], vision['patch_size']) == (
        dims,
        depth,
        patch,
    )
    assert width // vision.get('head_width', 64) == heads
