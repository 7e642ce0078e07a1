"""Every format against the library that owns it, at small widths."""

import json

import pytest
import torch
from references import (
    EVA,
    EVA_NAMES,
    IMAGE_SIZE,
    OLD_CONFIG,
    OPEN_CLIP,
    QUICK,
    SAVERS,
    build,
    eva_clip_names,
    huggingface_clip,
    old_checkpoint,
    save,
    scripted_openai,
)

from harmoclip_mm import load_clip
from harmoclip_mm.engine.checkpoint_guard import load_checkpoint_file
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.models.checkpoints import read_checkpoint
from harmoclip_mm.models.towers import HarmoCLIPBackbone


def assert_same(one, other, bound=1e-5):
    """Equal to a share of the largest value, in float32."""
    assert one.shape == other.shape
    error = (one - other).abs().max() / other.abs().max()
    assert error < bound, error


def assert_embeds_like(model, reference):
    end = model.text_encoder.text.vocab_size - 1
    img = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE)
    ids = torch.randint(1, end, (3, model.text_encoder.context_length))
    ids[:, 9:] = end  # EOT, where there is one
    with torch.no_grad():
        assert_same(model.backbone.encode(img).pooled, reference.image(img))
        assert_same(model.text_encoder(ids).pooled, reference.text(ids))


@pytest.mark.parametrize('name', SAVERS)
def test_features_equal_the_reference(tmp_path, name):
    path, reference = save(name, tmp_path)
    model = load_clip(path, arch=reference.arch)
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert_embeds_like(model, reference)


@pytest.mark.parametrize(
    'name, arch',
    [
        ('openai_archive', OPEN_CLIP),
        ('openai_state_dict', OPEN_CLIP),
        ('open_clip_folder', OPEN_CLIP),
        ('huggingface', OPEN_CLIP),
        ('huggingface_gelu', dict(OPEN_CLIP, quick_gelu=True)),
    ],
)
def test_what_a_file_proves_is_not_overruled(tmp_path, name, arch):
    """GELU for weights of QuickGELU, or the reverse, or other heads."""
    path, _ = save(name, tmp_path)
    if name.startswith('huggingface'):
        arch = dict(
            arch,
            vision_cfg=dict(
                image_size=64, layers=3, width=64, mlp_ratio=2.5, head_width=32
            ),
            text_cfg=dict(width=64, heads=2, layers=3, mlp_ratio=2.5),
        )
    with pytest.raises(CheckpointError, match='was trained with activation'):
        load_clip(path, arch=arch)


def test_heads_that_the_config_says_are_not_overruled(tmp_path):
    path, _ = save('huggingface', tmp_path)
    arch = dict(
        QUICK,
        vision_cfg=dict(image_size=64, layers=3, width=64, mlp_ratio=2.5),
        text_cfg=dict(width=64, heads=1, layers=3, mlp_ratio=2.5),
    )
    with pytest.raises(CheckpointError, match=r'heads \[2\], and has \[1\]'):
        load_clip(path, arch=arch)


def test_a_traced_gelu_is_seen(tmp_path):
    scripted_openai(build(OPEN_CLIP), tmp_path / 'gelu.pt')
    load_clip(str(tmp_path / 'gelu.pt'), arch=OPEN_CLIP)
    with pytest.raises(CheckpointError, match=r"\['gelu'\], and has \['quick"):
        load_clip(str(tmp_path / 'gelu.pt'), arch=QUICK)


@pytest.mark.parametrize('cfg', [OPEN_CLIP, QUICK])
@pytest.mark.parametrize(
    'name', ['ViT-B-16-quickgelu.pt', 'metaclip_400m.pt', 'DFN2B-39B.pt']
)
def test_names_of_files_decide_nothing(tmp_path, name, cfg):
    torch.save(build(cfg).state_dict(), tmp_path / name)
    model = load_clip(str(tmp_path / name), arch=cfg)
    assert model.spec.model_cfg.get('quick_gelu', False) == (cfg is QUICK)


def test_a_training_of_version_0_1(tmp_path):
    """Its settings and heads stay; its teacher does not."""
    path, _ = save('version_0_1', tmp_path)
    model = load_clip(path, arch=QUICK)
    assert model.backbone.dense_mode == 'token'
    assert model.backbone.img_size == (IMAGE_SIZE, IMAGE_SIZE)
    weights = load_checkpoint_file(path)['state_dict']
    assert weights.pop('heads.lrc.logit_scale.log_scale') == 1.5
    assert weights.keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    'tower, change, trait',
    [
        ('backbone', dict(arch=dict(num_heads=4)), 'heads'),
        ('backbone', dict(act_cfg=dict(type='GELU')), 'activation'),
        ('text_encoder', dict(act_cfg=dict(type='GELU')), 'activation'),
    ],
)
def test_what_a_config_of_version_0_1_proves(tmp_path, tower, change, trait):
    config = dict(OLD_CONFIG, **{tower: dict(OLD_CONFIG[tower], **change)})
    form = 'harmoclip_mm_0_1'
    path, reference = old_checkpoint(QUICK, config, form, tmp_path)
    with pytest.raises(CheckpointError, match=f'was trained with {trait}'):
        load_clip(path, arch=reference.arch)


def test_a_detector_of_version_0_1(tmp_path):
    """A vision tower alone, and a neck."""
    path, reference = save('version_0_1', tmp_path)
    file = torch.load(path)
    file['state_dict'] = {
        name: value
        for name, value in file['state_dict'].items()
        if name.startswith('backbone.')
    }
    file['state_dict']['neck.weight'] = torch.ones(2)
    torch.save(file, path)
    weights = load_checkpoint_file(path)['state_dict']
    assert torch.equal(weights.pop('neck.weight'), torch.ones(2))
    tower = HarmoCLIPBackbone(
        QUICK, init_cfg=dict(type='Pretrained', checkpoint=path)
    ).eval()
    tower.init_weights()
    assert {f'backbone.{k}' for k in tower.state_dict()} == weights.keys()
    img = torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.no_grad():
        assert_same(tower.encode(img).pooled, reference.image(img))


def test_half_precision_as_openai_saves_it(tmp_path):
    from open_clip.model import convert_weights_to_fp16

    model = build(QUICK)
    convert_weights_to_fp16(model)
    torch.save(model.state_dict(), tmp_path / 'half.pt')
    ours = load_clip(str(tmp_path / 'half.pt'), arch=QUICK)
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    img = torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.no_grad():
        expected = model.float().encode_image(img)
        assert_same(ours.backbone.encode(img).pooled, expected)


def test_the_archive_equals_torch_jit_without_its_code(tmp_path, monkeypatch):
    path, _ = save('openai_archive', tmp_path)
    expected = dict(torch.jit.load(path).state_dict())

    def forbidden(*args, **kwargs):
        raise AssertionError('code of the archive was loaded')

    monkeypatch.setattr(torch.jit, 'load', forbidden)
    found = read_checkpoint(path).weights
    for name in (
        'input_resolution',
        'context_length',
        'vocab_size',
        'attn_mask',
    ):
        del expected[name]
    expected = {
        name if name.startswith(('visual', 'logit')) else f'text.{name}': value
        for name, value in expected.items()
    }
    assert set(found) == set(expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_names_of_eva_clip_are_those_timm_knows():
    """timm converts EVA-CLIP's names itself; ours are made by hand."""
    from timm.models.eva import checkpoint_filter_fn

    model = build(EVA)
    state = model.state_dict()
    assert all(any(old in name for name in state) for old, _ in EVA_NAMES)
    renamed = eva_clip_names(state)
    found = checkpoint_filter_fn(
        {k: v for k, v in renamed.items() if 'freqs' not in k},
        model.visual.trunk,
    )
    torch.testing.assert_close(
        found, dict(model.visual.trunk.state_dict()), rtol=0, atol=0
    )


@pytest.mark.parametrize('size', [96, (64, 96), 32])
def test_positions_of_another_grid_are_resized(tmp_path, size):
    """As open_clip resizes them at loading."""
    from open_clip.model import CLIP, resize_pos_embed

    path, _ = save('open_clip', tmp_path)
    vision = dict(OPEN_CLIP['vision_cfg'], image_size=size)
    theirs = CLIP(**dict(OPEN_CLIP, vision_cfg=vision)).eval()
    state = torch.load(path)
    resize_pos_embed(state, theirs)
    theirs.load_state_dict(state)
    img = torch.randn(2, 3, *(size if isinstance(size, tuple) else [size] * 2))
    for ours in (
        load_clip(path, OPEN_CLIP, backbone=dict(img_size=size)),
        load_clip(path, dict(OPEN_CLIP, vision_cfg=vision)),
    ):
        with torch.no_grad():
            expected = theirs.encode_image(img)
            assert_same(ours.backbone.encode(img).pooled, expected)


def huggingface_config(folder, change):
    save('huggingface', folder)
    config = json.loads((folder / 'config.json').read_text())
    change(config)
    (folder / 'config.json').write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize(
    'change, complaint',
    [
        (lambda c: c['text_config'].update(hidden_act='relu'), 'hidden_act'),
        (lambda c: c.update(model_type='chinese_clip'), 'chinese_clip'),
        (lambda c: c.update(auto_map={'AutoModel': 'x.Y'}), 'auto_map'),
        (lambda c: c['vision_config'].update(use_rope=True), 'use_rope=True'),
        (lambda c: c['text_config'].update(eos_token_id=7), 'eos_token_id=7'),
        (
            lambda c: c['vision_config'].update(hidden_act='gelu'),
            r"activation \['gelu'\], and has \['quick_gelu'\]",
        ),
        (
            lambda c: c['text_config'].update(max_position_embeddings=248),
            r'positional_embedding is \(77, 64\) in the file, \(248, 64\)',
        ),
    ],
)
def test_keys_of_a_config_are_used_or_refused(tmp_path, change, complaint):
    with pytest.raises(CheckpointError, match=complaint) as error:
        load_clip(huggingface_config(tmp_path, change))
    assert str(tmp_path) in str(error.value)


def test_keys_of_a_config_that_change_nothing_are_passed_over(tmp_path):
    def change(config):
        config['text_config'].update(dropout=0.0, use_something=False)
        config['vision_config'].update(
            attention_dropout=0.1, id2label={0: 'a'}
        )
        config.update(transformers_version='4.0', text_config_dict=None)

    load_clip(huggingface_config(tmp_path, change))


def test_epsilon_and_activation_of_a_config_are_used(tmp_path):
    model = huggingface_clip('gelu_pytorch_tanh')
    for tower in (model.config.vision_config, model.config.text_config):
        tower.layer_norm_eps = 1e-3
    model = type(model)(model.config).eval()
    model.save_pretrained(tmp_path)
    ours = load_clip(str(tmp_path))
    img = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE)
    with torch.no_grad():
        expected = model.get_image_features(img)
        assert_same(ours.backbone.encode(img).pooled, expected)


def test_an_extended_vocabulary_is_refused(tmp_path):
    model = huggingface_clip(vocab_size=49410)
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match='vocab_size=49410'):
        load_clip(str(tmp_path))


@pytest.mark.parametrize('folder', [True, False])
def test_a_second_position_embedding_is_refused(tmp_path, folder):
    """As Long-CLIP has one, in either naming."""
    path, _ = save('huggingface' if folder else 'open_clip', tmp_path)
    name = 'positional_embedding_res'
    if folder:
        from safetensors.torch import load_file, save_file

        path = str(tmp_path / 'model.safetensors')
        state, name = load_file(path), 'text_model.embeddings.position_res'
    else:
        state = torch.load(path)
    state[name] = torch.zeros(248, 64)
    if folder:
        save_file(state, path, dict(format='pt'))
    else:
        torch.save(state, path)
    with pytest.raises(
        CheckpointError, match=rf'{name} is \(248, 64\) in the'
    ):
        load_clip(path, None if folder else OPEN_CLIP)
