"""What ``export_clip`` writes is loaded by the libraries it is for."""

import copy
import inspect
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from open_clip.factory import (
    create_model,
    create_model_and_transforms,
    get_tokenizer,
    load_checkpoint,
)
from references import EVA, OPEN_CLIP, QUICK, SIGLIP

import harmoclip_mm
from harmoclip_mm import export_clip, load_clip
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.models import CLIPTextEncoder, HarmoCLIPBackbone
from harmoclip_mm.registry import MODELS

TEXTS = ['a dog', "a photo of a red star, isn't it?", '', 'word ' * 100]
PREPROCESS = dict(mean=[0.5, 0.5, 0.5], std=[0.2, 0.2, 0.2])
VISION, TEXT = OPEN_CLIP['vision_cfg'], OPEN_CLIP['text_cfg']


def build(clip, **backbone):
    model = MODELS.build(
        dict(
            type='harmoclip_mm.HarmoCLIP',
            clip=dict(clip, preprocess_cfg=PREPROCESS),
            backbone=backbone,
            region_extractor=dict(type='harmoclip_mm.RoIFeatureExtractor'),
            heads=dict(
                lrc=dict(
                    type='harmoclip_mm.RegionPhraseHead',
                    temperature='own',
                    loss=dict(type='harmoclip_mm.ContrastiveLoss'),
                )
            ),
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def relative(one, other):
    return ((one - other).abs().max() / other.abs().max()).item()


def normalised(x):
    return x / x.norm(dim=-1, keepdim=True)


def weights(model):
    return {
        name: value
        for name, value in model.state_dict().items()
        if not name.startswith('heads.')
    }


@pytest.fixture
def img():
    return torch.randn(2, 3, 64, 64)


def ids_for(model):
    return torch.randint(1, 500, (3, model.text_encoder.context_length))


@pytest.mark.parametrize(
    'clip',
    [OPEN_CLIP, QUICK, dict(OPEN_CLIP, custom_text=True), EVA, SIGLIP],
    ids=['gelu', 'quick_gelu', 'custom_text', 'eva02', 'siglip'],
)
@torch.no_grad()
def test_open_clip_loads_the_folder(tmp_path, img, clip):
    model = build(clip)
    path = str(tmp_path / 'out')
    export_clip(model, path)
    theirs, _, preprocess = create_model_and_transforms(f'local-dir:{path}')
    theirs.eval()
    ids = ids_for(model)
    image = theirs.encode_image(img, normalize=True)
    text = theirs.encode_text(ids, normalize=True)
    assert relative(model.encode_image(img), image) < 1e-5
    pooled = normalised(model.text_encoder(ids).pooled)
    assert relative(pooled, text) < 1e-5
    assert theirs.logit_scale == model.logit_scale.log_scale
    assert theirs.logit_bias == getattr(model.logit_scale, 'bias', None)
    normalise = preprocess.transforms[-1]
    assert list(normalise.mean) == PREPROCESS['mean']
    assert list(normalise.std) == PREPROCESS['std']
    if 'hf_tokenizer_name' not in clip['text_cfg'] and clip is not SIGLIP:
        ids = get_tokenizer(f'local-dir:{path}')(TEXTS)
        text = theirs.encode_text(ids, normalize=True)
        assert relative(model.encode_text(TEXTS), text) < 1e-5


@pytest.mark.parametrize('suffix', ['pt', 'safetensors'])
@torch.no_grad()
def test_open_clip_loads_the_file(tmp_path, img, suffix):
    model = build(QUICK)
    path = str(tmp_path / f'weights.{suffix}')
    export_clip(model, path)
    export_clip(model, str(tmp_path / 'folder'))
    theirs = create_model(
        f'local-dir:{tmp_path / "folder"}', load_weights=False
    ).eval()
    load_checkpoint(theirs, path)
    image = theirs.encode_image(img, normalize=True)
    assert relative(model.encode_image(img), image) < 1e-5


@pytest.mark.parametrize(
    'clip',
    [
        OPEN_CLIP,
        QUICK,
        dict(
            OPEN_CLIP,
            vision_cfg=dict(VISION, head_width=32, norm_kwargs=dict(eps=1e-3)),
            text_cfg=dict(
                TEXT, heads=4, mlp_ratio=2, act_kwargs=dict(approximate='tanh')
            ),
        ),
    ],
    ids=['gelu', 'quick_gelu', 'other'],
)
@torch.no_grad()
def test_transformers_loads_the_folder(tmp_path, img, clip):
    import transformers

    model = build(clip)
    path = str(tmp_path / 'out')
    export_clip(model, path, format='huggingface')
    theirs, info = transformers.CLIPModel.from_pretrained(
        path, output_loading_info=True
    )
    assert not any(info.values()), info
    processor = transformers.CLIPProcessor.from_pretrained(path)
    ids = processor.tokenizer(
        TEXTS, padding=True, truncation=True, return_tensors='pt'
    )
    image = normalised(theirs.get_image_features(img))
    text = normalised(theirs.get_text_features(**ids))
    assert relative(model.encode_image(img), image) < 1e-5
    assert relative(model.encode_text(TEXTS), text) < 1e-5
    prepare = processor.image_processor
    assert prepare.image_mean == PREPROCESS['mean']
    assert prepare.crop_size == dict(height=64, width=64)
    assert prepare.do_center_crop


@torch.no_grad()
def test_transformers_loads_a_siglip(tmp_path, img):
    import transformers

    model = build(SIGLIP)
    path = str(tmp_path / 'out')
    export_clip(model, path, format='huggingface')
    theirs, info = transformers.SiglipModel.from_pretrained(
        path, output_loading_info=True
    )
    assert not any(info.values()), info
    ids = ids_for(model)
    image, text = theirs.get_image_features(img), theirs.get_text_features(ids)
    assert relative(model.backbone.encode(img).pooled, image) < 1e-5
    assert relative(model.text_encoder(ids).pooled, text) < 1e-5
    assert theirs.logit_scale == model.logit_scale.log_scale
    assert theirs.logit_bias == model.logit_scale.bias


@pytest.mark.parametrize(
    'format, clip',
    [
        ('open_clip', OPEN_CLIP),
        ('open_clip', QUICK),
        ('open_clip', EVA),
        ('open_clip', SIGLIP),
        ('huggingface', OPEN_CLIP),
        ('huggingface', QUICK),
        ('huggingface', SIGLIP),
    ],
)
def test_there_and_back_is_exact(tmp_path, format, clip):
    model = build(clip)
    export_clip(model, str(tmp_path / 'out'), format=format)
    arch = clip if (format, clip) == ('huggingface', SIGLIP) else None
    back = load_clip(str(tmp_path / 'out'), arch)
    torch.testing.assert_close(
        dict(back.state_dict()), weights(model), rtol=0, atol=0
    )
    if arch is None:
        torch.testing.assert_close(
            back.data_preprocessor.mean, model.data_preprocessor.mean
        )
    assert not list(tmp_path.rglob('*.part'))


@pytest.mark.parametrize('size', [96, (32, 96)])
@torch.no_grad()
def test_the_config_says_the_size_trained_at(tmp_path, size):
    model = build(QUICK, img_size=size)
    export_clip(model, str(tmp_path / 'out'))
    theirs = create_model(f'local-dir:{tmp_path / "out"}').eval()
    sides = (size, size) if isinstance(size, int) else size
    assert tuple(theirs.visual.image_size) == sides
    img = torch.randn(1, 3, *sides)
    image = theirs.encode_image(img, normalize=True)
    assert relative(model.encode_image(img), image) < 1e-5
    assert tuple(load_clip(str(tmp_path / 'out')).spec.img_size) == sides


def runner_checkpoint(path, model, text):
    torch.save(
        dict(
            meta=dict(cfg=text, epoch=1),
            state_dict=model.state_dict(),
            optimizer=dict(state={}),
        ),
        path,
    )


@pytest.mark.parametrize('at', ['model', 'towers'])
def test_a_checkpoint_of_the_runner_knows_its_config(tmp_path, img, at):
    """Read as text: the CLIP and its towers; nothing of it is run."""
    model = build(SIGLIP, dense_mode='token', window_size=2, dense_head='copy')
    clip = dict(SIGLIP, preprocess_cfg=PREPROCESS)
    spelt = f'dict({", ".join(f"{k}={v!r}" for k, v in clip.items())})'
    inner = f'clip={spelt}, ' if at == 'towers' else ''
    outer = f'clip={spelt}, ' if at == 'model' else ''
    text = (
        'import os\nwork_dir = os.mkdir("never")\n'
        f"model = dict({outer}type='HarmoCLIP', backbone=dict({inner}"
        "type='os.mkdir', dense_mode='token', window_size=2, with_cp=True, "
        "init_cfg=dict(type='Pretrained', checkpoint='gone.pt'), "
        f"dense_head='copy'), text_encoder=dict({inner}frozen=True), "
        "predictors=dict(a=dict(type='os.mkdir', path=os.mkdir('never'))))\n"
    )
    path = str(tmp_path / 'epoch_1.pth')
    runner_checkpoint(path, model, text)
    back = load_clip(path)
    assert back.checkpoint_info['format'] == 'harmoclip_mm'
    assert back.backbone.window_size == 2 and back.backbone.with_cp
    assert not any(p.requires_grad for p in back.text_encoder.parameters())
    assert not back.predictors
    with torch.no_grad():
        one, other = back.encode_dense(img), model.encode_dense(img)
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not os.path.exists('never')
    other = load_clip(path, backbone=dict(window_size=0))
    assert other.backbone.window_size == 0


@pytest.mark.parametrize('text', ['model = ', 'x = 1', 'model = f()', None])
def test_without_a_config_an_own_file_needs_a_name(tmp_path, text):
    model, path = build(OPEN_CLIP), str(tmp_path / 'epoch_1.pth')
    runner_checkpoint(path, model, text)
    with pytest.raises(CheckpointError, match='does not say which CLIP'):
        load_clip(path)
    load_clip(path, arch=OPEN_CLIP)


def test_a_second_pool_stays_behind_or_is_kept(tmp_path, img):
    model = build(SIGLIP, dense_head='copy')
    assert not torch.equal(
        model.backbone.dense_pool.kv.weight,
        model.backbone.visual.trunk.attn_pool.kv.weight,
    )
    export_clip(model, str(tmp_path / 'plain'))
    create_model(f'local-dir:{tmp_path / "plain"}')
    assert load_clip(str(tmp_path / 'plain')).backbone.dense_pool is None
    export_clip(model, str(tmp_path / 'kept.pt'), dense_head=True)
    back = load_clip(str(tmp_path / 'kept.pt'), arch=SIGLIP)
    with torch.no_grad():
        one, other = back.encode_dense(img), model.encode_dense(img)
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    with pytest.raises(CheckpointError, match=r'dense_pool\.\S+'):
        export_clip(model, str(tmp_path / 'hf'), 'huggingface', True)
    with pytest.raises(CheckpointError, match=r'dense_pool\.\S+'):
        export_clip(model, str(tmp_path / 'folder'), dense_head=True)


@pytest.mark.parametrize(
    'clip, complaint',
    [
        (EVA, r'visual\.trunk'),
        (
            dict(OPEN_CLIP, custom_text=True, text_cfg=SIGLIP['text_cfg']),
            'text',
        ),
        (dict(OPEN_CLIP, vision_cfg=dict(VISION, no_ln_pre=True)), 'ln_pre'),
        (dict(OPEN_CLIP, vision_cfg=dict(VISION, pool_type='avg')), 'pool'),
        (dict(OPEN_CLIP, text_cfg=dict(TEXT, pool_type='last')), 'pool'),
        (dict(OPEN_CLIP, text_cfg=dict(TEXT, no_causal_mask=True)), 'causal'),
        (
            dict(OPEN_CLIP, vision_cfg=dict(VISION, image_size=(32, 64))),
            '32 x 64',
        ),
        (
            dict(OPEN_CLIP, vision_cfg=dict(VISION, ls_init_value=0.1)),
            r'ls_1\.gamma',
        ),
    ],
    ids=[
        'eva02',
        'siglip_text',
        'no_ln_pre',
        'average_pool',
        'last_token',
        'no_causal_mask',
        'not_square',
        'layer_scale',
    ],
)
def test_what_transformers_has_no_place_for(tmp_path, clip, complaint):
    if clip['text_cfg'] is SIGLIP['text_cfg']:
        clip = dict(clip, embed_dim=64)
    with pytest.raises(CheckpointError, match=complaint) as error:
        export_clip(build(clip), str(tmp_path / 'out'), 'huggingface')
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'out').exists()


def test_what_else_is_refused(tmp_path):
    path, model = str(tmp_path / 'out'), build(EVA, img_size=96)
    with pytest.raises(CheckpointError, match=r'pos_embed is \(1, 37, 128\)'):
        export_clip(model, path)  # timm's tower has its own size in open_clip
    with pytest.raises(CheckpointError, match='choose one of open_clip'):
        export_clip(model, path, 'onnx')
    with pytest.raises(CheckpointError, match='leave the suffix out'):
        export_clip(model, path + '.pt', 'huggingface')
    assert not (tmp_path / 'out').exists()
    export_clip(model, path + '.pt')  # weights alone have a place
    assert 'visual.trunk.head.bias' in torch.load(path + '.pt')


def test_a_folder_holds_one_clip(tmp_path):
    path, model = str(tmp_path / 'out'), build(QUICK)
    export_clip(model, path)
    export_clip(model, path)  # the same file, replaced
    before = {each.name for each in Path(path).iterdir()}
    with pytest.raises(CheckpointError, match='holds other weights, open_cl'):
        export_clip(model, path, 'huggingface')
    assert {each.name for each in Path(path).iterdir()} == before


def test_the_tokenizer_goes_with_the_folder(tmp_path, monkeypatch):
    """That of Hugging Face, from a folder or the cache."""
    import tokenizers
    import transformers

    toy = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({'a': 0, 'u': 1}, 'u')
    )
    toy = transformers.PreTrainedTokenizerFast(
        tokenizer_object=toy, pad_token='u'
    )
    toy.save_pretrained(tmp_path / 'toy')
    text = dict(SIGLIP['text_cfg'], hf_tokenizer_name=str(tmp_path / 'toy'))
    model = build(dict(SIGLIP, text_cfg=text))
    for format in 'open_clip', 'huggingface':
        export_clip(model, str(tmp_path / format), format)
        found = transformers.AutoTokenizer.from_pretrained(tmp_path / format)
        assert found('a u').input_ids == toy('a u').input_ids
    ids = get_tokenizer(f'local-dir:{tmp_path / "open_clip"}')(['a'])
    assert ids.shape == (1, 16)
    monkeypatch.chdir(tmp_path)
    model = load_clip(Path('open_clip'))
    monkeypatch.chdir('/')  # where a notebook may go before the first text
    assert torch.equal(model.text_encoder.tokenizer.ids(['a']), ids)


def test_the_names_at_the_top():
    assert harmoclip_mm.load_clip is load_clip
    assert {'load_clip', 'export_clip'} <= set(dir(harmoclip_mm))
    with pytest.raises(AttributeError, match="no attribute 'load_clop'"):
        harmoclip_mm.load_clop  # noqa: B018


def test_nothing_of_a_model_is_imported_before_it_is_asked_for():
    import subprocess

    code = (
        'import sys, harmoclip_mm; '
        'assert "harmoclip_mm.models" not in sys.modules'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_configs_are_readable(tmp_path):
    model = build(dict(QUICK, text_cfg=dict(TEXT, heads=4)))
    export_clip(model, str(tmp_path), 'huggingface')
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['text_config']['num_attention_heads'] == 4
    assert config['vision_config']['hidden_act'] == 'quick_gelu'
    assert not list(tmp_path.glob('*.part'))


# Of each argument of a tower a value that is not its default; those of the
# CLIP itself and of the start are no settings of a trained model.
SETTINGS = dict(
    backbone=dict(
        img_size=32,
        dense_mode='token',
        dense_head='copy',
        out_indices=[0, 1],
        window_size=2,
        global_indices=[0],
        frozen_stages=1,
        with_cp=True,
    ),
    text_encoder=dict(frozen=True, with_cp=True),
)


@pytest.mark.parametrize('place', SETTINGS)
def test_every_argument_of_a_tower_is_kept(tmp_path, place):
    """Saved by a training, loaded, and built anew of what was loaded."""
    kind = dict(backbone=HarmoCLIPBackbone, text_encoder=CLIPTextEncoder)
    arguments = {*inspect.signature(kind[place]).parameters}
    assert arguments - {'clip', 'init_cfg'} == {*SETTINGS[place]}
    clip = dict(SIGLIP, preprocess_cfg=PREPROCESS)
    path = str(tmp_path / 'epoch_1.pth')
    for name, value in SETTINGS[place].items():
        own = {name: value}
        if name == 'global_indices':
            own['window_size'] = 2
        towers = {each: {} for each in kind}
        towers[place] = own
        model = MODELS.build(
            dict(
                type='harmoclip_mm.HarmoCLIP',
                clip=clip,
                region_extractor=dict(type='harmoclip_mm.RoIFeatureExtractor'),
                **copy.deepcopy(towers),
            )
        )
        text = f'model = {dict(clip=clip, **towers)!r}'
        runner_checkpoint(path, model, text)
        back = load_clip(path)
        one, other = getattr(model.eval(), place), getattr(back, place)
        plain = {k: v for k, v in vars(one).items() if is_plain(v)}
        assert plain == {k: v for k, v in vars(other).items() if is_plain(v)}
        assert [p.requires_grad for p in one.parameters()] == [
            p.requires_grad for p in other.parameters()
        ], name


def is_plain(value):
    return isinstance(value, (bool, int, str, tuple, list, type(None)))
