"""Checkpoints of version 0.1: made of new ones, whose values are known."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

from harmoclip_mm import load_clip
from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.checkpoints.key_tables import OWN, rename
from harmoclip_mm.registry import MODELS

VIT = dict(
    embed_dim=16,
    quick_gelu=True,
    vision_cfg=dict(
        image_size=32, layers=2, width=64, head_width=16, patch_size=16
    ),
    text_cfg=dict(width=64, heads=2, layers=2),
)
OLD = dict(
    type='HarmoCLIP',
    backbone=dict(
        type='HarmoCLIPViT',
        arch=dict(
            embed_dims=64, num_layers=2, num_heads=4, feedforward_channels=256
        ),
        img_size=32,
        drop_path_rate=0.1,
        dense_mode='token',
        init_cfg=dict(type='Pretrained', checkpoint='gone.pt'),
    ),
    text_encoder=dict(
        type='CLIPTextTransformer', embed_dims=64, num_layers=2, num_heads=2
    ),
)


@pytest.fixture
def tool():
    """The module, for its tables of names."""
    path = Path(__file__).parents[2] / 'tools/model_converters/convert_0_1.py'
    return SimpleNamespace(**runpy.run_path(str(path)))


@pytest.fixture
def run(run_tool, capsys):
    def start(*args):
        run_tool('model_converters/convert_0_1.py', *args)
        return capsys.readouterr().out

    return start


def new_model(clip, **kwargs):
    model = MODELS.build(
        dict(
            type='harmoclip_mm.HarmoCLIP',
            clip=clip,
            region_extractor=dict(type='harmoclip_mm.RoIFeatureExtractor'),
            **kwargs,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def save_old(path, model, table, cfg=OLD):
    """Its weights as version 0.1 named them, in a Runner's checkpoint."""
    weights, _ = rename(model.state_dict(), OWN)
    weights, rest = rename(weights, table, back=True)
    assert not rest
    weights['heads.lrc.logit_scale.log_scale'] = torch.tensor(1.5)
    vision = {k: v for k, v in weights.items() if k.startswith('backbone.')}
    weights.update({f'teacher.{k}': v + 1 for k, v in vision.items()})
    weights['teacher.is_set'] = torch.tensor(True)
    torch.save(
        dict(
            meta=dict(epoch=3, cfg=Config(dict(model=cfg)).pretty_text),
            state_dict=weights,
            optimizer=dict(state={}),
            message_hub=dict(log=HistoryBuffer([1.0], [1])),
        ),
        path,
    )


def test_a_training_is_converted_and_proved(tmp_path, tool, run):
    model = new_model(VIT)
    save_old(tmp_path / 'old.pth', model, tool.VIT + tool.TEXT)
    out = run(tmp_path / 'old.pth', tmp_path / 'new.pth')
    assert 'image embeddings, old and new: equal to' in out
    assert 'text embeddings, old and new: equal to' in out
    assert 'Left out, as it fits the old weights: optimizer.' in out
    again = load_clip(str(tmp_path / 'new.pth'))
    expected = {
        k: v
        for k, v in model.state_dict().items()
        if not k.startswith('heads.')
    }
    torch.testing.assert_close(
        dict(again.state_dict()), expected, rtol=0, atol=0
    )
    assert again.backbone.dense_mode == 'token'
    # heads and teacher are there for a training that starts from it
    new = torch.load(tmp_path / 'new.pth')
    assert new['state_dict']['heads.lrc.logit_scale.log_scale'] == 1.5
    name = 'backbone.visual.conv1.weight'
    torch.testing.assert_close(
        new['state_dict'][f'teacher.{name}'], new['state_dict'][name] + 1
    )
    assert 'teacher.is_set' in new['state_dict'] and new['meta']['epoch'] == 3
    assert not any('layers' in name for name in new['state_dict'])


def test_load_clip_names_the_tool(tmp_path, tool):
    save_old(tmp_path / 'old.pth', new_model(VIT), tool.VIT + tool.TEXT)
    with pytest.raises(UsageError, match=r'0\.1: convert it by .*convert_0_1'):
        load_clip(str(tmp_path / 'old.pth'))


@pytest.mark.parametrize(
    'change', [dict(heads=8), dict(act_cfg=dict(type='GELU'))]
)
def test_what_is_not_equal_is_not_written(tmp_path, tool, run, change):
    """A config of other heads or activation than --clip has."""
    cfg = {k: dict(v) if isinstance(v, dict) else v for k, v in OLD.items()}
    if 'heads' in change:
        arch = dict(cfg['backbone']['arch'], num_heads=change['heads'])
        cfg['backbone']['arch'] = arch
    else:
        cfg['backbone'].update(change)
        cfg['text_encoder'].update(change)
    save_old(tmp_path / 'old.pth', new_model(VIT), tool.VIT + tool.TEXT, cfg)
    (tmp_path / 'clip').mkdir()
    folder = tmp_path / 'clip'
    from harmoclip_mm import export_clip

    export_clip(new_model(VIT), str(folder))
    with pytest.raises(UsageError, match='image embeddings of the new towers'):
        run(tmp_path / 'old.pth', tmp_path / 'new.pth', '--clip', folder)
    assert not (tmp_path / 'new.pth').exists()


def test_other_files_are_refused(tmp_path, run):
    torch.save(new_model(VIT).state_dict(), tmp_path / 'new.pth')
    with pytest.raises(UsageError, match=r'holds no towers of version 0\.1'):
        run(tmp_path / 'new.pth', tmp_path / 'out.pth')


def test_a_detector_has_a_vision_tower_alone(tmp_path, tool, run):
    model = new_model(VIT)
    save_old(tmp_path / 'old.pth', model, tool.VIT + tool.TEXT)
    old = torch.load(tmp_path / 'old.pth', weights_only=False)
    old['state_dict'] = {
        k: v
        for k, v in old['state_dict'].items()
        if not k.startswith(
            ('text_encoder', 'logit_scale', 'heads', 'teacher')
        )
    }
    old['state_dict']['neck.weight'] = torch.ones(2)
    torch.save(old, tmp_path / 'old.pth')
    with pytest.raises(UsageError, match='name its CLIP by --clip'):
        run(tmp_path / 'old.pth', tmp_path / 'new.pth')
    from harmoclip_mm import export_clip

    export_clip(model, str(tmp_path / 'clip'))
    out = run(
        tmp_path / 'old.pth',
        tmp_path / 'new.pth',
        '--clip',
        tmp_path / 'clip',
    )
    assert 'text embeddings' not in out
    new = torch.load(tmp_path / 'new.pth', weights_only=False)['state_dict']
    assert torch.equal(new['neck.weight'], torch.ones(2))
    assert torch.equal(new['backbone.visual.proj'], model.backbone.visual.proj)


@pytest.mark.slow
def test_eva02(tmp_path, tool, run):
    """At full size: open_clip has no other."""
    model = new_model('EVA02-B-16')
    cfg = dict(
        backbone=dict(type='HarmoCLIPEVA02', arch='base', img_size=224),
        text_encoder=dict(act_cfg=dict(type='GELU')),
    )
    save_old(tmp_path / 'old.pth', model, tool.EVA + tool.TEXT, cfg)
    out = run(tmp_path / 'old.pth', tmp_path / 'new.pth')
    assert "clip = 'EVA02-B-16'" in out
    assert out.count('embeddings, old and new: equal to') == 2
