"""The text tower against open_clip."""

import pytest
import torch

from harmoclip_mm.models import CLIPTextTransformer
from harmoclip_mm.text import CLIPTokenizer

RENAMES = (
    ('transformer.resblocks', 'layers'),
    ('ln_1', 'ln1'),
    ('ln_2', 'ln2'),
    ('attn.in_proj_', 'qkv.'),
    ('attn.out_proj', 'proj'),
    ('mlp.c_fc', 'fc1'),
    ('mlp.c_proj', 'fc2'),
    ('positional_embedding', 'pos_embed'),
)
TEXTS = ['a dog', 'a photo of a red star & a blue ring', '', 'word ' * 100]


def build(**kwargs):
    cfg = dict(embed_dims=32, num_layers=2, num_heads=2, out_dims=16)
    tower = CLIPTextTransformer(**{**cfg, **kwargs})
    tower.init_weights()
    return tower


@pytest.fixture
def pair():
    model = pytest.importorskip('open_clip.model')
    theirs = model._build_text_tower(
        16,
        model.CLIPTextCfg(width=32, heads=2, layers=2),
        quick_gelu=True,
    ).eval()
    state = {}
    for name, value in theirs.state_dict().items():
        for old, new in RENAMES:
            name = name.replace(old, new)
        if name == 'text_projection':
            name, value = 'proj.weight', value.t()
        if name != 'attn_mask':
            state[name] = value
    ours = build().eval()
    ours.load_state_dict(state, strict=True)
    return ours, theirs


def test_equals_open_clip(pair):
    ours, theirs = pair
    ids = CLIPTokenizer()(TEXTS)
    with torch.no_grad():
        features = ours(ids)
        torch.testing.assert_close(
            features.pooled, theirs(ids), rtol=1e-5, atol=1e-5
        )
        theirs.output_tokens = True
        _, tokens = theirs(ids)
        expected = tokens @ theirs.text_projection
    torch.testing.assert_close(features.tokens, expected, rtol=1e-5, atol=1e-5)


def test_what_follows_eot_changes_nothing():
    tower = build().eval()
    ids = CLIPTokenizer()(TEXTS[:3])
    with torch.no_grad():
        together = tower(ids)
        assert together.tokens.shape == (3, 12, 16)
        for row in range(3):
            alone = tower(ids[row : row + 1])
            torch.testing.assert_close(alone.pooled[0], together.pooled[row])


def test_no_texts_keep_the_graph():
    tower = build()
    features = tower(torch.zeros(0, 77, dtype=torch.long))
    assert features.pooled.shape == (0, 16)
    features.pooled.sum().backward()
    assert all(p.grad is not None for p in tower.parameters())


def test_frozen_tower_stays_in_eval_mode():
    tower = build(frozen=True).train()
    assert not tower.training
    assert not any(p.requires_grad for p in tower.parameters())


def test_checkpointing_keeps_gradients(saved_bytes):
    tower = build().train()
    ids = CLIPTokenizer()(TEXTS)
    grads, saved = [], []
    for with_cp in (False, True):
        tower.with_cp = with_cp
        tower.zero_grad()
        tower(ids).tokens.square().sum().backward()
        grads.append([p.grad.clone() for p in tower.parameters()])
        saved.append(saved_bytes(lambda: tower(ids)))
    for one, other in zip(*grads):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert saved[1] < saved[0] / 2
