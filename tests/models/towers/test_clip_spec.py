"""What the name of a CLIP says."""

import json

import open_clip
import pytest

from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.towers import clip_spec

VIT = dict(
    embed_dim=8,
    vision_cfg=dict(image_size=80, patch_size=10, width=64, layers=2),
    text_cfg=dict(width=64, heads=1, layers=1),
)
RESNET = dict(layers=[1, 1, 2, 1], width=16, image_size=64)
TIMM = dict(timm_model_name='vit_tiny_patch16_224')


@pytest.mark.parametrize(
    'clip, name',
    [
        (VIT, 'ViT 2x64/10, 80 px'),
        (dict(VIT, vision_cfg={}), 'ViT 12x768/16, 224 px'),
        (dict(VIT, vision_cfg=RESNET), 'ResNet 1-1-2-1x16, 64 px'),
        (dict(VIT, vision_cfg=TIMM), 'vit_tiny_patch16_224, 224 px'),
    ],
)
def test_a_dict_is_called_by_its_vision_tower(clip, name):
    spec = clip_spec(clip)
    assert spec.name == name
    assert clip_spec(spec.clip) == spec and spec.clip == clip
    assert clip_spec('RN50').clip == 'RN50'


def test_a_folder_of_a_known_name_is_asked_only_if_it_says_a_clip(
    tmp_path, monkeypatch
):
    """Weights are often kept in a folder of the CLIP's name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'RN50').mkdir()
    assert clip_spec('RN50').embed_dim == 1024
    config = json.dumps(dict(model_cfg=VIT))
    (tmp_path / 'RN50' / 'open_clip_config.json').write_text(config)
    assert clip_spec('RN50').embed_dim == 8
    (tmp_path / 'mine').mkdir()
    with pytest.raises(
        UsageError, match=r'no readable open_clip_config\.json'
    ):
        clip_spec('mine')


@pytest.mark.parametrize('clip', [7, ['ViT-B-16', 'ViT-L-14']])
def test_what_is_neither_name_nor_folder_nor_dict(clip):
    with pytest.raises(UsageError, match='give a name, a folder or a dict'):
        clip_spec(clip)


@pytest.mark.parametrize('reads_on', [False, True])
def test_whether_texts_are_read_causally(reads_on):
    text_cfg = dict(VIT['text_cfg'], no_causal_mask=reads_on)
    clip = dict(VIT, text_cfg=text_cfg)
    mask = open_clip.CLIP(**clip).attn_mask
    assert clip_spec(clip).is_causal == (mask is not None) != reads_on
    other = dict(text_cfg, hf_model_name='roberta-base')
    assert not clip_spec(dict(VIT, text_cfg=other)).is_causal
