"""Layer-wise decay of the learning rate, by its base config."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from harmoclip_mm.registry import MODELS

VISION, TEXT = 'backbone.visual', 'text_encoder.text'
BLOCKS = 'transformer.resblocks'
BASE = Path(__file__).resolve().parents[2] / 'configs' / '_base_'


@pytest.fixture
def cfg(harmoclip_scope):
    schedule = Config.fromfile(BASE / 'schedules' / 'layer_decay.py')
    model = Config.fromfile(BASE / 'methods' / 'harmoclip.py').model
    model.clip = Config.fromfile(BASE / 'models' / 'tiny_clip.py').tiny_clip
    return Config(dict(model=model, optim_wrapper=schedule.optim_wrapper))


def test_each_depth_has_its_rate(cfg):
    """4 vision blocks and 2 text blocks, lr 1e-5, decay 0.75."""
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    found = {
        name: group
        for name, weight in model.named_parameters()
        for group in optimizer.param_groups
        if group['params'][0] is weight
    }
    assert len(found) == len(list(model.parameters()))
    expected = {
        # vision: embeddings 5 steps below the projection, blocks 4 to 1
        f'{VISION}.class_embedding': 0.75**5,
        f'{VISION}.positional_embedding': 0.75**5,
        f'{VISION}.conv1.weight': 0.75**5,
        f'{VISION}.ln_pre.weight': 0.75**5,
        f'{VISION}.{BLOCKS}.0.ln_1.weight': 0.75**4,
        f'{VISION}.{BLOCKS}.2.attn.in_proj_weight': 0.75**2,
        f'{VISION}.{BLOCKS}.3.mlp.c_proj.bias': 0.75,
        f'{VISION}.ln_post.bias': 1,
        f'{VISION}.proj': 1,
        # text: embeddings 3 steps below, blocks 2 and 1
        f'{TEXT}.token_embedding.weight': 0.75**3,
        f'{TEXT}.positional_embedding': 0.75**3,
        f'{TEXT}.{BLOCKS}.0.attn.in_proj_weight': 0.75**2,
        f'{TEXT}.{BLOCKS}.1.mlp.c_proj.bias': 0.75,
        f'{TEXT}.ln_final.weight': 1,
        f'{TEXT}.text_projection': 1,
        'logit_scale.log_scale': 1,
        'heads.lrc.logit_scale.log_scale': 1,
    }
    for name, scale in expected.items():
        assert found[name]['lr'] == pytest.approx(1e-5 * scale), name
    for name, group in found.items():
        # as in adamw_10e.py: norms, biases, temperatures and the class token
        # are vectors or numbers
        plain = group['params'][0].dim() < 2
        assert group['weight_decay'] == (0 if plain else 0.1), name


def test_frozen_parts_are_left_out(cfg):
    """Frozen as in FineCLIP: the text tower; and the first vision blocks."""
    cfg.model.text_encoder = dict(frozen=True)
    cfg.model.backbone = dict(frozen_stages=2)
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    trained = {id(g['params'][0]) for g in optimizer.param_groups}
    for name, weight in model.named_parameters():
        frozen = name.startswith(
            (
                'text_encoder',
                *(f'{VISION}.{BLOCKS}.{index}.' for index in (0, 1)),
                *(
                    f'{VISION}.{part}'
                    for part in ('cl', 'pos', 'conv', 'ln_pr')
                ),
            )
        )
        assert (id(weight) in trained) != frozen, name
        assert weight.requires_grad != frozen, name


def test_plain_schedule_sees_the_same_model(cfg):
    """Without decay every parameter keeps the learning rate."""
    cfg.optim_wrapper.pop('constructor')
    cfg.optim_wrapper.paramwise_cfg.pop('layer_decay_rate')
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert {group['lr'] for group in optimizer.param_groups} == {1e-5}
    assert torch.equal(
        optimizer.param_groups[0]['params'][0], next(model.parameters())
    )
