"""``init_cfg=dict(type='Pretrained')`` of the towers and of the model."""

import pytest
import torch
from mmengine.config import Config
from references import EVA, OPEN_CLIP, QUICK, SIGLIP, build, save

from harmoclip_mm import export_clip, load_clip
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.registry import MODELS

FORMATS = (
    'openai_archive',
    'open_clip_training',
    'open_clip_safetensors',
    'open_clip_siglip',
    'huggingface',
    'clipself',
    'mmpretrain',
)


def pretrained(path, **kwargs):
    return dict(type='Pretrained', checkpoint=str(path), **kwargs)


def built(clip, path, type='HarmoCLIPBackbone', init=None, **kwargs):
    module = MODELS.build(
        dict(
            type=f'harmoclip_mm.{type}',
            clip=clip,
            init_cfg=pretrained(path, **(init or {})),
            **kwargs,
        )
    )
    module.init_weights()
    return module


def assert_equal(one, other):
    torch.testing.assert_close(
        dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0
    )


def loaded(name, folder):
    path, reference = save(name, folder)
    model = load_clip(path, arch=reference.arch)
    return path, model, model.checkpoint_info['clip']


@pytest.mark.parametrize('name', FORMATS)
def test_towers_load_their_part(tmp_path, name):
    path, expected, clip = loaded(name, tmp_path)
    assert_equal(built(clip, path), expected.backbone)
    assert_equal(built(clip, path, 'CLIPTextEncoder'), expected.text_encoder)


@pytest.mark.parametrize('name', ['openai_archive', 'huggingface'])
def test_the_model_loads_both_and_keeps_its_heads(tmp_path, name, info_log):
    path, expected, clip = loaded(name, tmp_path)
    heads = dict(lrc=dict(type='RegionPhraseHead', temperature='own'))
    model = built(clip, path, 'HarmoCLIP', heads=heads)
    assert_equal(model.backbone, expected.backbone)
    assert_equal(model.text_encoder, expected.text_encoder)
    assert model.logit_scale.log_scale == expected.logit_scale.log_scale
    logged = [text for _, text in info_log if 'heads.lrc.logit_scale' in text]
    assert len(logged) == 1 and 'are missing, as they may' in logged[0]


def test_positions_are_resized(tmp_path):
    path, expected, clip = loaded('open_clip', tmp_path)
    tower = built(clip, path, img_size=96).eval()
    img = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(
            tower.encode(img).pooled, expected.backbone.encode(img).pooled
        )


@pytest.mark.parametrize('name', ['openai_archive', 'open_clip_siglip'])
def test_a_detector_of_mmdet_loads_its_backbone(tmp_path, name):
    """By ``init_cfg`` of the backbone alone; the rest is drawn."""
    from mmdet.registry import MODELS as MMDET_MODELS
    from mmengine.hub import get_config
    from mmengine.registry import init_default_scope

    path, expected, clip = loaded(name, tmp_path)
    cfg = get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py').model
    init_default_scope('mmdet')
    cfg.backbone = dict(
        type='harmoclip_mm.HarmoCLIPBackbone',
        clip=clip,
        init_cfg=pretrained(path),
        window_size=2,
    )
    cfg.neck = dict(
        type='harmoclip_mm.SimpleFeaturePyramid',
        in_channels=expected.backbone.block_dims[-1],
        num_outs=5,
    )
    detector = MMDET_MODELS.build(cfg)
    drawn = detector.bbox_head.retina_cls.weight.clone()
    detector.init_weights()
    assert_equal(detector.backbone, expected.backbone)
    assert not torch.equal(detector.bbox_head.retina_cls.weight, drawn)


def test_a_scope_of_mmdet_finds_the_clip_that_a_file_names(tmp_path, capfd):
    """Of our own files, without a warning that the registry is unknown."""
    from mmengine.registry import init_default_scope

    heads = dict(lrc=dict(type='RegionPhraseHead'))
    cfg = dict(type='harmoclip_mm.HarmoCLIP', clip=OPEN_CLIP, heads=heads)
    model = MODELS.build(cfg)
    path = tmp_path / 'trained.pth'
    said = dict(cfg=Config(dict(clip=OPEN_CLIP, model=cfg)).pretty_text)
    torch.save(dict(state_dict=model.state_dict(), meta=said), path)
    init_default_scope('mmdet')
    assert_equal(built(OPEN_CLIP, path), model.backbone)
    assert 'Failed to search registry' not in ''.join(capfd.readouterr())


def test_own_files_with_and_without_prefix(tmp_path):
    _, expected, clip = loaded('open_clip', tmp_path)
    torch.save(dict(state_dict=expected.state_dict()), tmp_path / 'own.pth')
    assert_equal(built(clip, tmp_path / 'own.pth'), expected.backbone)
    torch.save(expected.backbone.state_dict(), tmp_path / 'tower.pth')
    assert_equal(built(clip, tmp_path / 'tower.pth'), expected.backbone)
    inner = {
        f'student.{k}': v for k, v in build(OPEN_CLIP).state_dict().items()
    }
    torch.save(inner, tmp_path / 'inner.pt')
    for prefix in ('student.', 'student'):
        init = dict(prefix=prefix, map_location='cpu')
        built(clip, tmp_path / 'inner.pt', init=init)


def test_heads_of_a_training_are_loaded_too(tmp_path):
    heads = dict(lrc=dict(type='RegionPhraseHead', temperature='own'))
    cfg = dict(type='harmoclip_mm.HarmoCLIP', clip=OPEN_CLIP, heads=heads)
    model = MODELS.build(cfg)
    with torch.no_grad():
        model.heads.lrc.logit_scale.log_scale.fill_(1.5)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'own.pth')
    again = built(OPEN_CLIP, tmp_path / 'own.pth', 'HarmoCLIP', heads=heads)
    assert_equal(again, model)


def test_another_clip_is_an_error(tmp_path):
    path, _, _ = loaded('open_clip', tmp_path)
    vision = OPEN_CLIP['vision_cfg']
    for change, complaint in (
        (dict(patch_size=8), r'visual\.conv1\.weight is \(128, 3, 16, 16\)'),
        (dict(layers=4), r'resblocks\.3\.\S+ is absent in the file'),
        (dict(layers=2), r'resblocks\.2\.\S+ is .* absent in the model'),
        (dict(width=64), r'visual\.class_embedding is \(128,\)'),
    ):
        clip = dict(OPEN_CLIP, vision_cfg=dict(vision, **change))
        with pytest.raises(CheckpointError, match=complaint):
            built(clip, path)
    torch.save(build(EVA).state_dict(), tmp_path / 'eva.pt')
    with pytest.raises(CheckpointError, match=r'visual\.\S+ is absent'):
        built(OPEN_CLIP, tmp_path / 'eva.pt')
    torch.save({'layer1.0.weight': torch.zeros(1)}, tmp_path / 'resnet.pth')
    with pytest.raises(
        CheckpointError, match=r'left over \(layer1\.0\.weight'
    ):
        built(OPEN_CLIP, tmp_path / 'resnet.pth')


def test_a_vision_tower_alone_serves_its_like(tmp_path):
    """And is not said to fit what its missing half cannot tell."""
    visual = build(OPEN_CLIP).visual
    state = {f'visual.{k}': v for k, v in visual.state_dict().items()}
    torch.save(state, tmp_path / 'tower.pt')
    assert_equal(built(OPEN_CLIP, tmp_path / 'tower.pt').visual, visual)
    for clip, type in ((EVA, 'HarmoCLIPBackbone'), (OPEN_CLIP, 'HarmoCLIP')):
        with pytest.raises(CheckpointError, match='is not of the CLIP') as e:
            built(clip, tmp_path / 'tower.pt', type)
        assert 'its weights fit' not in str(e.value)


def test_the_other_activation_is_an_error_where_it_is_known(tmp_path):
    path, _, _ = loaded('open_clip_folder', tmp_path)  # says quick_gelu
    with pytest.raises(CheckpointError, match=r"has \['gelu'\] in the model"):
        built(OPEN_CLIP, path)
    path, _, _ = loaded('openai_archive', tmp_path)
    for type in ('CLIPTextEncoder', 'HarmoCLIP'):
        with pytest.raises(CheckpointError, match=r'trained with act'):
            built(OPEN_CLIP, path, type)
    # a file that does not say fits both, and the config names one
    torch.save(build(OPEN_CLIP).state_dict(), tmp_path / 'a.pt')
    for clip in (OPEN_CLIP, QUICK):
        built(clip, tmp_path / 'a.pt', 'HarmoCLIP')


def test_a_second_pool_starts_as_a_copy_of_the_first(tmp_path):
    path, expected, clip = loaded('open_clip_siglip', tmp_path)
    tower = built(clip, path, dense_head='copy')
    assert_equal(tower.dense_pool, expected.backbone.visual.trunk.attn_pool)
    with torch.no_grad():
        tower.dense_pool.q.weight.add_(1)
    torch.save(
        {f'backbone.{k}': v for k, v in tower.state_dict().items()},
        tmp_path / 'own.pth',
    )
    again = built(clip, tmp_path / 'own.pth', dense_head='copy')
    assert_equal(again, tower)
    assert_equal(built(clip, tmp_path / 'own.pth'), expected.backbone)


def test_a_siglip_without_a_bias_is_refused(tmp_path):
    state = build(SIGLIP).state_dict()
    del state['logit_bias']
    torch.save(state, tmp_path / 'a.pt')
    with pytest.raises(
        CheckpointError, match='logit_bias is absent in the fi'
    ):
        built(SIGLIP, tmp_path / 'a.pt', 'HarmoCLIP')
    built(SIGLIP, tmp_path / 'a.pt')


def test_a_pickle_is_trusted_by_init_cfg_as_well(tmp_path):
    torch.save(build(OPEN_CLIP), tmp_path / 'model.pt')
    with pytest.raises(CheckpointError, match='more than weights'):
        built(OPEN_CLIP, tmp_path / 'model.pt')
    built(OPEN_CLIP, tmp_path / 'model.pt', init=dict(trust_pickle=True))


def test_an_exported_file_is_read(tmp_path):
    _, expected, clip = loaded('open_clip_siglip', tmp_path)
    export_clip(expected, str(tmp_path / 'out.safetensors'))
    assert_equal(built(clip, tmp_path / 'out.safetensors'), expected.backbone)
