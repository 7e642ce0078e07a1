"""Which CLIP a file is: told by it, by its shapes, or asked for."""

import json

import open_clip
import pytest
import torch
from references import OPEN_CLIP, build, save

from harmoclip_mm import export_clip, load_clip
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.models.checkpoints import Checkpoint, clip_of
from harmoclip_mm.models.checkpoints.fitting import shapes_of


def weights_of(name, change=None):
    """A file with the shapes of a CLIP, and without memory."""
    shapes = dict(
        shapes_of(open_clip.get_model_config(name)), **(change or {})
    )
    with torch.device('meta'):
        weights = {
            k: torch.empty(v) for k, v in shapes.items() if v is not None
        }
    return Checkpoint('some.pt', weights, format='open_clip')


@pytest.mark.parametrize(
    'name',
    [
        *('EVA02-L-14-336', 'ViT-B-16-SigLIP2-384', 'ViT-B-32-256'),
        'ViT-SO400M-16-SigLIP-i18n-256',  # without a projection of texts
    ],
)
def test_the_only_clip_of_its_shapes_is_taken(name):
    assert clip_of(weights_of(name)) == name


@pytest.mark.parametrize(
    'name, others',
    [
        ('ViT-B-16', ['ViT-B-16-quickgelu']),
        ('ViT-L-14-336', ['ViT-L-14-336-quickgelu']),
        ('RN50', ['RN50-quickgelu']),
        ('convnext_large_d', ['convnext_large_d_320']),
        ('ViT-H-14-worldwide', ['ViT-H-14-worldwide-quickgelu']),
    ],
)
def test_several_are_named_and_none_is_guessed(name, others):
    with pytest.raises(CheckpointError) as error:
        clip_of(weights_of(name))
    text = str(error.value)
    assert f'its weights fit {" and ".join([name, *others])}: say it' in text
    assert 'some.pt' in text and 'arch=' in text and '\n' not in text


@pytest.mark.parametrize(
    'change, complaint',
    [
        (
            {'visual.positional_embedding': (145, 768)},
            r'\(145, 768\) in the fi',
        ),
        ({'logit_bias': ()}, r'logit_bias is \(\) in the file, absent in the'),
        ({'visual.ln_pre.bias': None}, r'ln_pre\.bias is absent in the file'),
        ({'text.positional_embedding': (248, 512)}, r'\(248, 512\)'),
    ],
)
def test_without_any_the_nearest_is_named(change, complaint):
    with pytest.raises(CheckpointError, match=complaint) as error:
        clip_of(weights_of('ViT-B-16', change))
    assert 'nearest is ViT-B-16, but' in str(error.value)


def test_an_archive_of_openai_proves_which(tmp_path):
    found = weights_of('ViT-B-16')
    proof = dict(text=dict(activation=['quick_gelu']))
    assert clip_of(found._replace(facts=proof)) == 'ViT-B-16-quickgelu'
    proof = dict(text=dict(activation=['gelu']))
    assert clip_of(found._replace(facts=proof)) == 'ViT-B-16'


def test_the_wrong_name_lists_the_right_ones(monkeypatch):
    """As one sentence; before anything is loaded."""
    from harmoclip_mm.models.checkpoints import check_clip
    from harmoclip_mm.registry import MODELS

    with torch.device('meta'):
        model = MODELS.build(
            dict(type='harmoclip_mm.HarmoCLIP', clip='ViT-B-16')
        )
    with pytest.raises(CheckpointError) as error:
        check_clip(model, weights_of('ViT-B-32'))
    text = str(error.value)
    assert 'not of the CLIP ViT-B-16 that the model is built for' in text
    assert 'fit ViT-B-32 and ViT-B-32-quickgelu' in text and '\n' not in text
    check_clip(model, weights_of('ViT-B-16'))
    # another grid is resized by the tower
    check_clip(
        model,
        weights_of('ViT-B-16', {'visual.positional_embedding': (5, 768)}),
    )


def test_a_folder_a_name_and_a_dict_name_the_same(tmp_path):
    path, _ = save('open_clip', tmp_path)
    config = dict(model_cfg=OPEN_CLIP)
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(config))
    one = load_clip(path, arch=OPEN_CLIP)
    other = load_clip(path, arch=str(tmp_path))
    assert one.checkpoint_info == dict(
        path=path, format='open_clip', clip=OPEN_CLIP
    )
    torch.testing.assert_close(
        dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0
    )


def test_a_folder_says_how_images_are_prepared(tmp_path):
    path, _ = save('open_clip_folder', tmp_path)
    model = load_clip(path)
    assert model.checkpoint_info['clip'] == path
    assert model.spec.mean == (0.5, 0.5, 0.5)


def test_a_preprocessor_says_how_images_are_prepared(tmp_path):
    path, _ = save('huggingface', tmp_path)
    (tmp_path / 'preprocessor_config.json').write_text(
        json.dumps(
            dict(
                image_mean=[0.5, 0.4, 0.3],
                image_std=[0.2] * 3,
                resample=2,
                do_center_crop=False,
            )
        )
    )
    spec = load_clip(path).spec
    assert spec.mean == (0.5, 0.4, 0.3) and spec.std == (0.2, 0.2, 0.2)
    assert spec.interpolation == 'bilinear' and spec.resize_mode == 'squash'


def test_siglip_of_hugging_face_becomes_open_clips(tmp_path, monkeypatch):
    """By sizes and image, with the tokenizer of its folder."""
    from harmoclip_mm.models.checkpoints import huggingface

    name = 'ViT-B-16-SigLIP2'
    shapes = shapes_of(open_clip.get_model_config(name))
    config = dict(model_type='siglip', text_config=dict(vocab_size=256000))
    (tmp_path / 'config.json').write_text(json.dumps(config))
    (tmp_path / 'tokenizer.json').write_text('{}')
    (tmp_path / 'tokenizer_config.json').write_text(
        json.dumps(dict(tokenizer_class='GemmaTokenizerFast'))
    )
    warned = []
    monkeypatch.setattr(
        huggingface, 'print_log', lambda text, **kwargs: warned.append(text)
    )
    clip = huggingface.read_config(str(tmp_path), shapes)['clip']
    expected = open_clip.get_model_config(name)
    assert clip['vision_cfg'] == expected['vision_cfg']
    assert clip['init_logit_bias'] == -10
    assert clip['text_cfg'].pop('hf_tokenizer_name') == str(tmp_path)
    expected['text_cfg'].pop('hf_tokenizer_name')
    assert clip['text_cfg'] == expected['text_cfg']
    assert clip['preprocess_cfg']['mean'] == [0.5] * 3
    assert clip['preprocess_cfg']['resize_mode'] == 'squash'
    assert len(warned) == 1 and 'gelu_tanh' in warned[0]
    # the same weights at another image size are another CLIP
    config['vision_config'] = dict(image_size=256)
    (tmp_path / 'config.json').write_text(json.dumps(config))
    assert huggingface.read_config(str(tmp_path), shapes)['clip'] is None


def test_settings_of_the_vision_tower(tmp_path):
    path, _ = save('open_clip', tmp_path)
    settings = dict(window_size=2, dense_mode='token', img_size=96)
    model = load_clip(path, arch=OPEN_CLIP, backbone=settings)
    assert model.backbone.window_size == 2
    assert model.backbone.dense_mode == 'token'
    assert model.backbone.img_size == (96, 96)


@pytest.mark.parametrize('size', [128, (128, 64)], ids=['as many', 'fewer'])
@pytest.mark.parametrize('exported', [False, True])
def test_positions_of_a_wide_image_are_of_no_other_shape(
    tmp_path, exported, size
):
    """4 x 16 cells are as many as 8 x 8, which weights do not tell."""
    path, wide = tmp_path / 'wide.pth', dict(img_size=(64, 256))
    model = load_clip(save('open_clip', tmp_path)[0], OPEN_CLIP, backbone=wide)
    cfg = f'model = dict(clip={OPEN_CLIP}, backbone={wide})'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=cfg)), path)
    if exported:
        export_clip(model, str(tmp_path / 'out'))
        path = tmp_path / 'out'
    assert load_clip(path).backbone.img_size == (64, 256)
    with pytest.raises(CheckpointError, match=r'img_size=\(64, 256\)'):
        load_clip(path, backbone=dict(img_size=size))


def test_a_vision_tower_alone_is_no_whole_clip(tmp_path):
    torch.save(build(OPEN_CLIP).visual.state_dict(), tmp_path / 'tower.pt')
    with pytest.raises(CheckpointError, match='class_embedding'):
        load_clip(str(tmp_path / 'tower.pt'))
