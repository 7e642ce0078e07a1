"""``init_cfg=dict(type='Pretrained')`` of the towers and of the model."""

import pytest
import torch
from references import IMAGE_SIZE, eva_model, open_clip_model, save

from harmoclip_mm import export_clip, load_clip
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.models import HarmoCLIPViT
from harmoclip_mm.models.checkpoints.foreign_configs import describe_model
from harmoclip_mm.registry import MODELS

pytest.importorskip('open_clip')
FORMATS = (
    'openai_archive',
    'open_clip_training',
    'open_clip_safetensors',
    'huggingface',
    'clipself',
    'mmpretrain',
)


def pretrained(path, **kwargs):
    return dict(type='Pretrained', checkpoint=str(path), **kwargs)


def built(cfg, path, **kwargs):
    module = MODELS.build(dict(cfg, init_cfg=pretrained(path, **kwargs)))
    module.init_weights()
    return module


def assert_equal(one, other):
    torch.testing.assert_close(
        dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0
    )


@pytest.mark.parametrize('name', FORMATS)
def test_towers_load_their_part(tmp_path, name):
    path, _ = save(name, tmp_path)
    expected = load_clip(path)
    cfg = describe_model(expected)
    assert_equal(built(cfg['backbone'], path), expected.backbone)
    assert_equal(built(cfg['text_encoder'], path), expected.text_encoder)


@pytest.mark.parametrize('name', ['openai_archive', 'huggingface'])
def test_the_model_loads_both_and_keeps_its_heads(tmp_path, name, info_log):
    path, _ = save(name, tmp_path)
    expected = load_clip(path)
    cfg = describe_model(expected)
    cfg['heads'] = dict(
        lrc=dict(type='RegionPhraseHead', temperature='own'),
    )
    model = built(cfg, path)
    assert_equal(model.backbone, expected.backbone)
    assert_equal(model.text_encoder, expected.text_encoder)
    assert model.logit_scale.log_scale == expected.logit_scale.log_scale
    logged = [text for _, text in info_log if 'heads.lrc.logit_scale' in text]
    assert len(logged) == 1 and 'left as initialised' in logged[0]


def test_positions_are_resized(tmp_path):
    path, _ = save('open_clip', tmp_path)
    expected = load_clip(path)
    cfg = dict(describe_model(expected)['backbone'], img_size=96)
    tower = built(cfg, path)
    img = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(
            tower.encode(img).pooled, expected.eval().backbone.encode(img)[0]
        )


@pytest.mark.parametrize('name', FORMATS)
def test_a_detector_of_mmdet_loads_its_backbone(tmp_path, name):
    """By ``init_cfg`` of the backbone alone; the rest is drawn."""
    from mmdet.registry import MODELS as MMDET_MODELS
    from mmengine.hub import get_config
    from mmengine.registry import init_default_scope

    path, _ = save(name, tmp_path)
    expected = load_clip(path)
    cfg = get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py').model
    init_default_scope('mmdet')
    backbone = describe_model(expected)['backbone']
    cfg.backbone = dict(
        backbone,
        type=f'harmoclip_mm.{backbone["type"]}',
        init_cfg=pretrained(path),
        window_size=2,
    )
    cfg.neck = dict(
        type='harmoclip_mm.SimpleFeaturePyramid',
        in_channels=backbone['arch']['embed_dims'],
        num_outs=5,
    )
    detector = MMDET_MODELS.build(cfg)
    drawn = detector.bbox_head.retina_cls.weight.clone()
    detector.init_weights()
    assert_equal(detector.backbone, expected.backbone)
    assert not torch.equal(detector.bbox_head.retina_cls.weight, drawn)


def test_own_files_with_and_without_prefix(tmp_path):
    expected = load_clip(save('open_clip', tmp_path)[0])
    cfg = describe_model(expected)['backbone']
    export_clip(expected, str(tmp_path / 'own.pth'), 'harmoclip_mm')
    assert_equal(built(cfg, tmp_path / 'own.pth'), expected.backbone)
    tower = built(cfg, tmp_path / 'own.pth', prefix='backbone')
    assert_equal(tower, expected.backbone)
    torch.save(expected.backbone.state_dict(), tmp_path / 'tower.pth')
    assert_equal(built(cfg, tmp_path / 'tower.pth'), expected.backbone)
    inner = {
        f'student.{k}': v for k, v in open_clip_model(0).state_dict().items()
    }
    torch.save(inner, tmp_path / 'inner.pt')
    built(cfg, tmp_path / 'inner.pt', prefix='student.')


def test_another_architecture_is_an_error(tmp_path):
    path, _ = save('open_clip', tmp_path)
    cfg = describe_model(load_clip(path))
    backbone = dict(cfg['backbone'], patch_size=8)
    with pytest.raises(CheckpointError, match=r'projection\.weight \(128, 3'):
        built(backbone, path)
    arch = dict(cfg['backbone']['arch'], num_layers=4)
    with pytest.raises(CheckpointError, match=r'layers\.3\.ln1\.weight'):
        built(dict(cfg['backbone'], arch=arch), path)
    arch['num_layers'] = 2
    with pytest.raises(CheckpointError, match='in the file but not in the m'):
        built(dict(cfg['backbone'], arch=arch), path)
    torch.save(eva_model().state_dict(), tmp_path / 'eva.pt')
    with pytest.raises(CheckpointError, match=r'q_proj\.weight'):
        built(cfg['backbone'], tmp_path / 'eva.pt')


def test_the_other_activation_is_an_error_where_it_is_known(
    tmp_path, info_log
):
    path, _ = save('open_clip_folder', tmp_path)  # says quick_gelu
    cfg = describe_model(load_clip(path))
    wrong = dict(cfg['backbone'], act_cfg=dict(type='GELU'))
    with pytest.raises(
        CheckpointError, match=r"act_cfg=dict\(type='harmoclip_mm.QuickGELU'\)"
    ):
        built(wrong, path)
    built(wrong, path, activation='gelu')  # who knows better, says so
    path, _ = save('open_clip', tmp_path)  # says nothing: GELU is presumed
    built(dict(cfg['backbone']), path)
    warned = [text for level, text in info_log if level >= 30]
    assert len(warned) == 1 and 'may need gelu' in warned[0]


def test_without_a_checkpoint_weights_are_drawn():
    tower = HarmoCLIPViT(
        arch=dict(
            embed_dims=32, num_layers=1, num_heads=1, feedforward_channels=64
        ),
        img_size=IMAGE_SIZE,
        out_dims=16,
    )
    assert tower.cls_token.abs().max() == 0
    tower.init_weights()
    assert tower.cls_token.abs().max() > 0
