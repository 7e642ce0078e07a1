"""The text towers of all kinds against open_clip."""

import copy
import math

import pytest
import tiny_clips
import torch
from open_clip.model import CLIP, CustomTextCLIP
from tiny_clips import CLIPA, SIGLIP, VIT, WORLDWIDE, shake, with_tokenizer
from toy_tokenizers import SENTENCES, save_toy
from transformers import BertConfig, M2M100Config, MT5Config, RobertaConfig

from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.towers import CLIPTextEncoder

TEXTS = ['a dog', 'a photo of a red star & a blue ring', '', *SENTENCES[:3]]
TEXTS.append('word ' * 100)


def changed(clip, **text_cfg):
    clip = copy.deepcopy(clip)
    clip['text_cfg'].update(text_cfg)
    return clip


CONFIGS = dict(
    bert=BertConfig(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    ),
    roberta=RobertaConfig(
        vocab_size=600,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=80,
    ),
    mt5=MT5Config(
        vocab_size=300, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=2
    ),
    m2m=M2M100Config(
        vocab_size=300,
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_layers=1,
    ),
)
HUGGING_FACE = dict(
    bert=('bert', dict(hf_pooler_type='cls_pooler', hf_proj_type='linear')),
    roberta=('roberta', dict(hf_pooler_type='mean_pooler')),
    mt5=('mt5', dict(hf_pooler_type='mean_pooler')),
    m2m=('xlm_roberta', dict(hf_pooler_type='cls_pooler')),
)
NATIVE = dict(
    gelu=VIT,
    quick_gelu=tiny_clips.VIT_QUICKGELU,
    layer_scale=changed(VIT, ls_init_value=0.3),
    no_projection=changed(VIT, proj_type='none', width=tiny_clips.DIMS),
    pe=tiny_clips.PE,
    mobileclip=changed(tiny_clips.MOBILECLIP, no_causal_mask=True),
    first=changed(VIT, pool_type='first', no_causal_mask=True),
)
# Whose padding says nothing: all that is cut changes no result.
MASKED = ['gelu', 'quick_gelu', 'layer_scale', 'no_projection', 'pe']
MASKED += ['worldwide', *HUGGING_FACE]
ALL = [*NATIVE, 'siglip', 'clipa', 'worldwide', *HUGGING_FACE]


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp('hub')
    clips = dict(NATIVE)
    # SigLIP 2: padding has the id that ends a text, eps and tanh of its own.
    size = save_toy('t5', root / 't5')
    siglip = changed(SIGLIP, act_kwargs=dict(approximate='tanh'))
    clips['siglip'] = with_tokenizer(
        siglip, root / 't5', size, clean='canonicalize'
    )
    size = save_toy('bert', root / 'bert')
    clips['clipa'] = with_tokenizer(
        CLIPA, root / 'bert', size, strip_sep_token=True
    )
    size = save_toy('xlm_roberta', root / 'xlm_roberta')
    worldwide = changed(WORLDWIDE, eos_id=2)
    clips['worldwide'] = with_tokenizer(worldwide, root / 'xlm_roberta', size)
    for name, (toy, text_cfg) in HUGGING_FACE.items():
        save_toy(toy, root / name)
        CONFIGS[name].save_pretrained(root / name)
        clips[name] = changed(
            VIT,
            hf_model_name=str(root / name),
            hf_tokenizer_name=str(root / name),
            **text_cfg,
        )
    return clips


@pytest.fixture(params=ALL)
def name(request):
    return request.param


def build(clip, **kwargs):
    return shake(CLIPTextEncoder(clip=clip, **kwargs)).eval()


def build_theirs(ours):
    """open_clip's whole model with the weights of ours."""
    cfg = copy.deepcopy(ours.spec.model_cfg)
    custom = cfg.pop('custom_text', False)
    cfg['text_cfg']['hf_model_pretrained'] = False
    custom = custom or 'hf_model_name' in cfg['text_cfg']
    model = (CustomTextCLIP if custom else CLIP)(**cfg).eval()
    state = ours.text.state_dict()
    if custom:
        model.text.load_state_dict(state)
        return model
    keys = {key for key in model.state_dict() if not key.startswith('visual.')}
    assert keys - {'logit_scale'} == set(state)
    missing = model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    return model


@torch.no_grad()
def test_pooled_equals_open_clip(clips, name):
    ours = build(clips[name])
    ids = ours.tokenizer.ids(TEXTS)
    assert ids.shape == (len(TEXTS), ours.context_length)
    found = ours(ids)
    expected = build_theirs(ours).encode_text(ids)
    torch.testing.assert_close(found.pooled, expected, rtol=1e-5, atol=1e-5)
    alone = ours(ids, with_tokens=False)
    assert alone.tokens is None
    torch.testing.assert_close(alone.pooled, found.pooled)
    # Different texts have different embeddings.
    distances = torch.cdist(found.pooled, found.pooled)
    distances.fill_diagonal_(1)
    if name != 'first':
        assert distances.min() > 1e-3
    # Anything that is not a text is a number, too.
    assert found.tokens.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize('name', [*NATIVE, 'siglip', 'clipa', 'worldwide'])
def test_tokens_equal_open_clip(clips, name):
    ours = build(clips[name])
    ids = ours.tokenizer.ids(TEXTS)
    found = ours(ids)
    ours.text.output_tokens = True
    _, expected = ours.text(ids)  # after the final norm
    if isinstance(ours.text.text_projection, torch.nn.Linear):
        expected = ours.text.text_projection(expected)
    elif ours.text.text_projection is not None:
        expected = expected @ ours.text.text_projection
    torch.testing.assert_close(found.tokens, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_tokens_of_hugging_face_are_what_is_pooled(clips):
    ours = build(clips['mt5'])
    ours.text.proj = torch.nn.Identity()
    text = 'a brown dog'
    (row,) = ours.tokenizer.ids([text])
    found = ours(row[None])
    used = ours.tokenizer.encode(text).num_tokens
    assert found.tokens.shape[1] == used
    torch.testing.assert_close(found.tokens.mean(dim=1), found.pooled)


@torch.no_grad()
@pytest.mark.parametrize('name', ['gelu', 'worldwide'])
def test_pooled_is_the_token_that_ends_the_text(clips, name):
    ours = build(clips[name])
    found = ours(ours.tokenizer.ids(TEXTS))
    for row, text in enumerate(TEXTS):
        end = ours.tokenizer.encode(text).num_tokens - 1
        assert torch.equal(found.pooled[row], found.tokens[row, end])


@torch.no_grad()
def test_cutting_changes_nothing(clips, name):
    ours = build(clips[name])
    ids = ours.tokenizer.ids(TEXTS[:3])
    cut = ours(ids)
    longest = max(ours.tokenizer.encode(t).num_tokens for t in TEXTS[:3])
    length = longest if name in MASKED else ours.context_length
    assert cut.tokens.shape == (3, length, tiny_clips.DIMS)
    assert ours.longest(ids) == length
    assert ours.longest(ids[:0]) == (1 if name in MASKED else length)
    whole = ours(ids, length=ours.context_length)
    assert whole.tokens.shape[1] == ours.context_length
    torch.testing.assert_close(whole.pooled, cut.pooled)
    torch.testing.assert_close(whole.tokens[:, :length], cut.tokens)


@torch.no_grad()
def test_a_text_that_holds_the_token_of_its_end(clips):
    ours = build(clips['gelu'])
    text = 'a dog <end_of_text> and a cat'
    ids = ours.tokenizer.ids([text])
    found = ours(ids)
    expected = build_theirs(ours).encode_text(ids)
    torch.testing.assert_close(found.pooled, expected)
    # What follows is cut by no one: the cat has its tokens.
    assert found.tokens.shape[1] == ours.tokenizer.encode(text).num_tokens


def test_no_texts_keep_the_graph(clips, name):
    tower = build(clips[name]).train()
    features = tower(torch.zeros(0, tower.context_length, dtype=torch.long))
    assert features.pooled.shape == (0, tiny_clips.DIMS)
    assert features.tokens.shape[::2] == (0, tiny_clips.DIMS)
    (features.pooled.sum() + features.tokens.sum()).backward()
    for key, weight in tower.named_parameters():
        assert weight.grad is not None and not weight.grad.any(), key


def test_frozen_tower_stays_in_eval_mode(clips):
    tower = build(clips['siglip'], frozen=True).train()
    assert not tower.training and not tower.text.training
    assert not any(p.requires_grad for p in tower.parameters())
    # whoever froze it: dropout is no part of a tower that is left as it was
    tower = build(clips['roberta']).requires_grad_(False).train()
    assert not any(each.training for each in tower.modules())


@pytest.mark.parametrize('name', ['gelu', 'siglip', 'roberta', 'mt5'])
def test_checkpointing_keeps_gradients(clips, name, saved_bytes):
    grads, saved = [], []
    for with_cp in (False, True):
        tower = build(clips[name], with_cp=with_cp).train()
        ids = tower.tokenizer.ids(TEXTS)
        torch.manual_seed(0)  # Hugging Face's have dropout
        tower(ids).tokens.square().sum().backward()
        grads.append([p.grad for p in tower.parameters()])
        saved.append(saved_bytes(lambda tower=tower, ids=ids: tower(ids)))
    for one, other in zip(*grads):
        if one is None:  # the pooler of Hugging Face serves no token
            assert other is None
            continue
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert saved[1] < saved[0] * 0.6


@pytest.mark.parametrize('name', ['gelu', 'bert', 'roberta', 'mt5', 'm2m'])
def test_layer_depths(clips, name):
    tower = build(clips[name])
    assert tower.num_layers == 2
    depths = {}
    for key, _ in tower.named_parameters():
        depth, number = tower.get_layer_depth(
            'text_encoder.' + key, 'text_encoder.'
        )
        assert number == 4
        depths.setdefault(depth, []).append(key)
    assert sorted(depths) == [0, 1, 2, 3]
    assert all('embed' in key for key in depths[0])
    assert all('.0.' in key for key in depths[1])
    assert all('.1.' in key for key in depths[2])
    assert tower.get_layer_depth('backbone.x', 'text_encoder.') == (3, 4)


def test_fresh_weights_are_those_of_clip():
    tower = CLIPTextEncoder(clip=changed(VIT, width=256, heads=4))
    for weight in tower.parameters():
        weight.data.zero_()
    tower.init_weights()
    block = tower.text.transformer.resblocks[0]
    for weight, std in (
        (tower.text.token_embedding.weight, 0.02),
        (tower.text.positional_embedding, 0.01),
        (tower.text.text_projection, 256**-0.5),
        (block.attn.in_proj_weight, 256**-0.5),
        (block.attn.out_proj.weight, 256**-0.5 / 2),
    ):
        assert math.isclose(weight.detach().std(), std, rel_tol=0.05)


def test_names_and_sizes():
    tower = CLIPTextEncoder(clip=VIT)
    names = [key for key, _ in tower.named_parameters()]
    assert all(key.startswith('text.') for key in names)
    assert 'text.transformer.resblocks.1.attn.in_proj_weight' in names
    assert tower.out_dims == tiny_clips.DIMS
    assert tower.context_length == tower.tokenizer.context_length == 77


@pytest.mark.parametrize('name', ['ViT-B-32', 'ViT-B-16-SigLIP2', 'ViTamin-S'])
def test_shapes_on_the_meta_device(name):
    with torch.device('meta'):
        tower = CLIPTextEncoder(clip=name)
        ids = torch.zeros(2, tower.context_length, dtype=torch.long)
        found = tower(ids)
    assert found.pooled.shape == (2, tower.out_dims)
    assert found.tokens.shape == (2, tower.context_length, tower.out_dims)


@pytest.mark.parametrize(
    ('clip', 'says'),
    [
        ('coca_ViT-B-32', 'CoCa'),
        (changed(VIT, embed_cls=True), 'CoCa'),
        (changed(VIT, scale_fc=True), 'CustomResidualAttentionBlock'),
        (changed(VIT, pool_type='none'), 'pool_type'),
        (changed(VIT, widht=3), 'widht'),
        ('roberta-ViT-B-32', 'hf download roberta-base'),
        (changed(VIT, hf_model_name='/no/such'), 'no such folder'),
    ],
)
def test_what_is_not_supported_is_one_sentence(clip, says):
    with pytest.raises(UsageError, match=says):
        CLIPTextEncoder(clip=clip)
