"""Every format against the library that owns it, at small widths."""

import pytest
import torch
from references import (
    EVA_NAMES,
    IMAGE_SIZE,
    OPEN_CLIP,
    SAVERS,
    eva_clip_names,
    eva_model,
    huggingface_model,
    open_clip_model,
    save,
    scripted_openai,
)

from harmoclip_mm import load_clip
from harmoclip_mm.models.checkpoints import read_checkpoint, read_clip
from harmoclip_mm.text import CLIPTokenizer

TEXTS = ['a dog', 'a photo of a red star & a blue ring', '', 'word ' * 100]
pytest.importorskip('open_clip')


def assert_same(one, other):
    """Equal to 1e-5 of the largest value, in float32."""
    assert one.shape == other.shape
    error = (one - other).abs().max() / other.abs().max()
    assert error < 1e-5, error


@pytest.mark.parametrize('name', SAVERS)
def test_features_equal_the_reference(tmp_path, name, info_log):
    if name.startswith('huggingface'):
        pytest.importorskip('transformers')
    path, reference = save(name, tmp_path)
    model = load_clip(path)
    assert not model.training
    img = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE)
    ids = CLIPTokenizer()(TEXTS)
    with torch.no_grad():
        features = model.text_encoder(ids)
        assert_same(model.backbone.encode(img).pooled, reference.image(img))
        assert_same(features.pooled, reference.text(ids))
        if reference.tokens is not None:
            used = features.tokens.shape[1]
            assert_same(features.tokens, reference.tokens(ids)[:, :used])
        if reference.maps is not None:
            model.backbone.out_indices = [0, 1, 2]
            ours, theirs = model.backbone(img), reference.maps(img)
            assert len(ours) == len(theirs) == 3
            for one, other in zip(ours, theirs):
                assert_same(one, other)
    assert [text for level, text in info_log if level >= 30] == []
    assert 'activation' in info_log[-1][1]


@pytest.mark.parametrize(
    'name, activation, reason',
    [
        ('openai_archive', 'quick_gelu', 'archived code'),
        ('openai_state_dict', 'quick_gelu', 'OpenAI'),
        ('open_clip', 'gelu', 'nothing in the file tells'),
        ('open_clip_quickgelu_by_name', 'quick_gelu', 'vit-quickgelu.pt'),
        ('open_clip_folder', 'quick_gelu', 'open_clip_config.json'),
        ('huggingface', 'quick_gelu / gelu', 'config.json'),
        ('eva_clip', 'gelu', 'EVA-02'),
        ('mmpretrain', 'quick_gelu', 'OpenAI'),
    ],
)
def test_the_activation_is_recorded(tmp_path, name, activation, reason):
    info = load_clip(save(name, tmp_path)[0]).checkpoint_info
    assert info['activation'] == activation
    assert reason in info['activation_reason']


def test_a_traced_gelu_is_seen(tmp_path):
    model = open_clip_model(quick_gelu=False)
    scripted_openai(model, tmp_path / 'gelu.pt')
    found = read_clip(str(tmp_path / 'gelu.pt'))
    assert found.activation[:3] == ('gelu', 'gelu', True)


def test_half_precision_as_openai_saves_it(tmp_path):
    from open_clip.model import convert_weights_to_fp16

    model = open_clip_model(quick_gelu=True)
    convert_weights_to_fp16(model)
    torch.save(model.state_dict(), tmp_path / 'half.pt')
    ours = load_clip(str(tmp_path / 'half.pt'))
    assert ours.checkpoint_info['activation'] == 'quick_gelu'
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    img = torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.no_grad():
        expected = model.float().encode_image(img)
        assert_same(ours.backbone.encode(img).pooled, expected)


def test_the_user_has_the_last_word(tmp_path):
    path, _ = save('open_clip_folder', tmp_path)  # says quick_gelu
    model = load_clip(path, activation='gelu')
    assert model.checkpoint_info['activation'] == 'gelu'
    path, _ = save('open_clip', tmp_path)  # says nothing
    model = load_clip(path, activation='quick_gelu')
    assert model.checkpoint_info['activation_reason'] == 'as asked for'


def test_heads_of_another_width_by_arch(tmp_path):
    model = huggingface_model()
    torch.save(model.state_dict(), tmp_path / 'lone.pt')
    arch = dict(
        backbone=dict(arch=dict(num_heads=2)), text_encoder=dict(num_heads=2)
    )
    ours = load_clip(str(tmp_path / 'lone.pt'), arch=arch)
    img = torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.no_grad():
        expected = model.get_image_features(img)
        assert_same(ours.backbone.encode(img).pooled, expected)


def test_the_archive_equals_torch_jit_without_its_code(tmp_path, monkeypatch):
    path, _ = save('openai_archive', tmp_path)
    expected = dict(torch.jit.load(path).state_dict())

    def forbidden(*args, **kwargs):
        raise AssertionError('code of the archive was loaded')

    monkeypatch.setattr(torch.jit, 'load', forbidden)
    found = read_checkpoint(path).state_dict
    assert set(found) == set(expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_names_of_eva_clip_are_those_timm_knows():
    """timm converts EVA-CLIP's names itself; ours are made by hand."""
    eva = pytest.importorskip('timm.models.eva')
    model = eva_model()
    state = model.state_dict()
    assert all(any(old in name for name in state) for old, _ in EVA_NAMES)
    renamed = eva_clip_names(state)
    found = eva.checkpoint_filter_fn(
        {k: v for k, v in renamed.items() if 'freqs' not in k},
        model.visual.trunk,
    )
    torch.testing.assert_close(
        found, dict(model.visual.trunk.state_dict()), rtol=0, atol=0
    )


@pytest.mark.parametrize('size', [(96, 96), (64, 96), (32, 32)])
def test_other_sizes_resize_positions_as_open_clip(tmp_path, size):
    """open_clip's own resizing at loading; ours at the input or loading."""
    from open_clip.model import CLIP, resize_pos_embed

    path, _ = save('open_clip', tmp_path)
    vision = dict(OPEN_CLIP['vision_cfg'], image_size=size)
    theirs = CLIP(**dict(OPEN_CLIP, vision_cfg=vision)).eval()
    state = torch.load(path)
    resize_pos_embed(state, theirs)
    theirs.load_state_dict(state)
    img = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = theirs.encode_image(img)
        assert_same(load_clip(path).backbone.encode(img).pooled, expected)
        arch = dict(backbone=dict(img_size=size))
        resized = load_clip(path, arch=arch).backbone
        assert resized.pos_embed.shape[1] == 1 + size[0] * size[1] // 256
        assert_same(resized.encode(img).pooled, expected)
