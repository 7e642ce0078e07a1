"""The guard within a real Runner."""

import itertools

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from harmoclip_mm.engine import CheckpointGuard, use_safe_loading
from harmoclip_mm.engine.checkpoint_guard import load_checkpoint_file
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.models.checkpoints import HEADS
from harmoclip_mm.registry import MODELS

_COUNT = itertools.count()


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, *args, **kwargs):
        raise NotImplementedError


def _runner(tmp_path, state_dict, strict, custom_hooks=None):
    path = str(tmp_path / 'weights.pth')
    torch.save({'state_dict': state_dict}, path)
    runner = Runner(
        Model(),
        work_dir=str(tmp_path),
        load_from=path,
        experiment_name=f'guard_{next(_COUNT)}',
        custom_hooks=custom_hooks,
    )
    runner.register_hook(CheckpointGuard(strict=strict))
    return runner


@pytest.fixture(autouse=True)
def safe_loading():
    schemes = dict(CheckpointLoader._schemes)
    use_safe_loading()
    yield
    CheckpointLoader._schemes = schemes


GOOD = {'fc.weight': torch.ones(2, 2), 'fc.bias': torch.zeros(2)}


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_a_fitting_checkpoint_is_loaded(tmp_path, prefix):
    state_dict = {prefix + key: value for key, value in GOOD.items()}
    runner = _runner(tmp_path, state_dict, strict=True)
    runner.call_hook('before_run')
    runner.load_or_resume()
    assert runner.model.fc.weight.eq(1).all()


def test_the_averaged_weights_hook_goes_first(tmp_path):
    hooks = [{'type': 'EMAHook'}]
    runner = _runner(tmp_path, GOOD, strict=True, custom_hooks=hooks)
    order = [type(hook).__name__ for hook in runner.hooks]
    assert order.index('EMAHook') < order.index('CheckpointGuard')
    runner.call_hook('before_run')
    runner.load_or_resume()
    assert runner.model.fc.weight.eq(1).all()


def test_weights_alone_cannot_be_resumed(tmp_path):
    runner = _runner(tmp_path, GOOD, strict=True)
    runner._resume = True
    with pytest.raises(CheckpointError, match=r'weights\.pth holds weights'):
        runner.load_or_resume()


def test_strict_and_lenient(tmp_path):
    partly = {'fc.weight': torch.ones(2, 2), 'head.bias': torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r'weights\.pth is of another'):
        _runner(tmp_path, partly, strict=True).load_or_resume()
    runner = _runner(tmp_path, partly, strict=False)
    runner.load_or_resume()
    assert runner.model.fc.weight.eq(1).all()
    with pytest.raises(CheckpointError, match='nothing in checkpoint'):
        _runner(
            tmp_path, {'visual.proj': torch.ones(2, 2)}, strict=False
        ).load_or_resume()


CLIP = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=32, layers=1, width=64, patch_size=16),
    text_cfg=dict(width=64, heads=1, layers=1),
)
HEAD = dict(
    type='harmoclip_mm.RegionPhraseHead',
    temperature='own',
    loss=dict(type='harmoclip_mm.ContrastiveLoss'),
)


def _clip_runner(tmp_path, source, clip=CLIP, **guard):
    """A Runner of a small HarmoCLIP with a head, as tools/test.py has it."""
    model = MODELS.build(
        dict(
            type='harmoclip_mm.HarmoCLIP',
            clip=clip,
            region_extractor=dict(type='harmoclip_mm.RoIFeatureExtractor'),
            heads=dict(lrc=HEAD),
        )
    )
    runner = Runner(
        model,
        work_dir=str(tmp_path),
        load_from=str(source),
        experiment_name=f'guard_{next(_COUNT)}',
    )
    runner.register_hook(CheckpointGuard(**guard))
    return runner


def _open_clip(**changes):
    from open_clip.model import CLIP as Model

    return Model(**{**CLIP, **changes})


@pytest.mark.parametrize('mode', ['token', 'value'])
def test_a_map_made_otherwise_than_in_training_is_told(tmp_path, mode):
    """Its weights fit, and its regions are others."""
    runner = _clip_runner(tmp_path / 'a', 'none')
    cfg = f"model = dict(clip={CLIP}, backbone=dict(dense_mode='{mode}'))"
    path = tmp_path / 'trained.pth'
    weights = runner.model.state_dict()
    torch.save(dict(state_dict=weights, meta=dict(cfg=cfg)), path)
    _clip_runner(tmp_path / 'b', path).load_or_resume()
    log = next((tmp_path / 'b').rglob('*.log')).read_text()
    advice = '--cfg-options model.backbone.dense_mode=token'
    assert (advice in log) == (mode == 'token')


def test_a_foreign_clip_is_loaded_and_lacks_the_heads(tmp_path):
    clip = _open_clip()
    torch.save(clip.state_dict(), tmp_path / 'clip.pt')
    runner = _clip_runner(tmp_path, tmp_path / 'clip.pt', optional=HEADS)
    runner.load_or_resume()
    assert torch.equal(runner.model.backbone.visual.proj, clip.visual.proj)
    log = next(tmp_path.rglob('*.log')).read_text()
    assert 'missing, as they may: heads.lrc.logit_scale' in log
    # a training that goes on may lack nothing
    with pytest.raises(CheckpointError, match=r'heads\.lrc\.logit_scale'):
        _clip_runner(tmp_path, tmp_path / 'clip.pt').load_or_resume()


def test_heads_of_a_training_are_tolerated_and_logged(tmp_path):
    runner = _clip_runner(tmp_path, tmp_path / 'epoch_1.pth', optional=HEADS)
    state_dict = runner.model.state_dict()
    state_dict['heads.gr.logit_scale.log_scale'] = torch.ones(())
    torch.save({'state_dict': state_dict}, tmp_path / 'epoch_1.pth')
    runner.load_or_resume()
    log = max(tmp_path.rglob('*.log')).read_text()
    assert 'left over, as they may: heads.gr.logit_scale.log_scale' in log


@pytest.mark.parametrize('strict', [True, False])
def test_a_foreign_clip_of_another_kind_is_refused(tmp_path, strict):
    """By load_from of a training as by a test, and as by init_cfg."""
    small = dict(CLIP['vision_cfg'], patch_size=8)
    deep = dict(CLIP['vision_cfg'], layers=2)
    resnet = dict(layers=[1, 1, 1, 1], width=16, image_size=64)
    for clip in (
        _open_clip(vision_cfg=small),
        _open_clip(vision_cfg=deep),
        _open_clip(vision_cfg=resnet),
        _open_clip(init_logit_bias=-10),
    ):
        torch.save(clip.state_dict(), tmp_path / 'clip.pt')
        runner = _clip_runner(tmp_path, tmp_path / 'clip.pt', strict=strict)
        with pytest.raises(CheckpointError, match='is not of the CLIP ViT 1x'):
            runner.load_or_resume()
    # our own of another kind is no better
    other = dict(CLIP, vision_cfg=small)
    model = _clip_runner(tmp_path, 'none', clip=other).model
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'own.pth')
    runner = _clip_runner(tmp_path, tmp_path / 'own.pth', strict=strict)
    with pytest.raises(CheckpointError, match='is not of the CLIP ViT 1x'):
        runner.load_or_resume()


@pytest.mark.parametrize('strict', [True, False])
def test_a_foreign_clip_of_another_activation_is_refused(tmp_path, strict):
    state_dict = _open_clip(quick_gelu=True).state_dict()
    state_dict['input_resolution'] = torch.tensor(32)
    torch.save(state_dict, tmp_path / 'openai.pt')  # OpenAI's, for certain
    runner = _clip_runner(tmp_path, tmp_path / 'openai.pt', strict=strict)
    with pytest.raises(CheckpointError, match=r"activation \['quick_gelu'\]"):
        runner.load_or_resume()


def test_a_clip_of_another_grid_starts_a_training(tmp_path):
    large = dict(CLIP['vision_cfg'], image_size=64)
    clip = _open_clip(vision_cfg=large)
    torch.save(clip.state_dict(), tmp_path / 'clip.pt')
    runner = _clip_runner(tmp_path, tmp_path / 'clip.pt', strict=False)
    runner.load_or_resume()
    visual = runner.model.backbone.visual
    assert torch.equal(visual.conv1.weight, clip.visual.conv1.weight)
    assert visual.positional_embedding.shape == (5, 64)
    assert torch.equal(
        visual.positional_embedding[0], clip.visual.positional_embedding[0]
    )


def test_an_address_takes_the_same_road(tmp_path, monkeypatch):
    """Read by our loader, cached under the whole address."""
    fetched = []

    def download(address, target):
        fetched.append((address, target))
        torch.save(_open_clip().state_dict(), target)

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    addresses = [f'https://example.org/{x}/model.pt?token=1' for x in 'abb']
    for address in addresses:
        runner = _clip_runner(tmp_path, address, optional=HEADS)
        runner.load_or_resume()
    assert [address for address, _ in fetched] == addresses[:2]
    assert fetched[0][1] != fetched[1][1]


def test_an_optimizer_is_not_mapped_from_the_file(tmp_path):
    """The file may be overwritten while the optimizer still holds it."""
    state_dict = _clip_runner(tmp_path, 'none').model.state_dict()
    path = str(tmp_path / 'last.pth')
    moments = torch.arange(1000.0)
    torch.save(dict(state_dict=state_dict, optimizer=moments), path)
    loaded = load_checkpoint_file(path)
    torch.save(dict(state_dict={}, optimizer=moments * 0), path)
    assert torch.equal(loaded['optimizer'], moments)


@pytest.mark.parametrize('strict', [False, True])
def test_a_new_training_has_its_own_teacher(tmp_path, strict):
    """That of the checkpoint is taken when resuming alone."""
    old = {f'teacher.{k}': torch.full_like(v, 7.0) for k, v in GOOD.items()}
    runner = _runner(tmp_path, {**GOOD, **old}, strict)
    runner.model.teacher = nn.ModuleDict(dict(fc=nn.Linear(2, 2)))
    teacher = runner.model.teacher['fc']
    own = teacher.weight.clone()
    runner.load_or_resume()
    assert torch.equal(runner.model.fc.weight, GOOD['fc.weight'])
    expected = old['teacher.fc.weight'] if strict else own
    assert torch.equal(teacher.weight, expected)
