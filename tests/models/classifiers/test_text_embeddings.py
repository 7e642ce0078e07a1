"""Files of text embeddings."""

import copy
import hashlib
from dataclasses import replace

import numpy as np
import pytest
import tiny_clips
import torch
import torch.nn.functional as F
from torch import nn

from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.models import CLIPTextEncoder, HarmoCLIPBackbone
from harmoclip_mm.models.classifiers import (
    TextEmbeddings,
    encode_vocabulary,
    tower_fingerprint,
)
from harmoclip_mm.text import load_vocabulary


def encode(model, names=('dog', 'red_car'), **kwargs):
    return encode_vocabulary(
        model.text_encoder,
        model.backbone,
        load_vocabulary(list(names)),
        **{'templates': 'simple', **kwargs},
    )


def test_fingerprint_by_hand():
    layer = nn.Linear(2, 1)
    digest = hashlib.sha256(
        b"[('activation', []), ('causal', False), ('eps', []), ('heads', []), "
        b"('norm_after_pool', False), ('pool', None)]"
    )
    for name, shape in (('bias', '(1,)'), ('weight', '(1, 2)')):
        digest.update(f'{name} {shape}\n'.encode())
        digest.update(getattr(layer, name).detach().numpy().tobytes())
    assert tower_fingerprint(layer) == digest.hexdigest()


@pytest.mark.parametrize('name', tiny_clips.ALL)
def test_fingerprint_ignores_the_input_size_alone(name):
    clip = tiny_clips.ALL[name]
    tower = tiny_clips.shake(HarmoCLIPBackbone(clip))
    before = tower_fingerprint(tower)
    large = HarmoCLIPBackbone(clip, img_size=96)
    large.load_state_dict(tower.state_dict())
    assert tower_fingerprint(large) == before
    if tower.family.attention_pool is not None:
        extended = HarmoCLIPBackbone(clip, dense_head='copy')
        extended.load_state_dict(tower.state_dict())
        assert tower_fingerprint(extended) == before
    saved = copy.deepcopy(tower.state_dict())
    for key, weight in saved.items():
        ignored = key == f'visual.{tower.family.pos_embed}'
        if ignored or not weight.is_floating_point():
            continue
        weight.flatten()[0] += 1
        tower.load_state_dict(saved)
        assert tower_fingerprint(tower) != before, key
        weight.flatten()[0] -= 1


@pytest.mark.parametrize('kind', [HarmoCLIPBackbone, CLIPTextEncoder])
def test_fingerprint_knows_twins_of_equal_weights_apart(kind):
    tower, twin = kind(tiny_clips.VIT), kind(tiny_clips.VIT_QUICKGELU)
    twin.load_state_dict(tower.state_dict())
    assert tower_fingerprint(twin) != tower_fingerprint(tower)


def test_fingerprint_of_a_text_tower_knows_its_positions(tiny_model):
    text = tiny_model.text_encoder
    before = tower_fingerprint(text)
    with torch.no_grad():
        text.text.positional_embedding.add_(1)  # which are never resized
    assert tower_fingerprint(text) != before


def test_encodes_as_the_model_does(tiny_model):
    found = encode(tiny_model)
    expected = tiny_model.encode_text(
        ['a photo of a dog.', 'a photo of a red car.']
    )
    torch.testing.assert_close(found.embeddings, expected.detach())
    assert found.classes == ('dog', 'red_car')
    assert found.templates == ('a photo of a {}.',)
    assert not found.embeddings.requires_grad


def test_file_there_and_back(tiny_model, tmp_path):
    found = encode(tiny_model, ('Äpfel "x"', 'dog'))
    found.save(tmp_path / 'a.npz')
    again = TextEmbeddings.load(tmp_path / 'a.npz')
    assert torch.equal(again.embeddings, found.embeddings)
    for name in (
        'classes',
        'templates',
        'text_fingerprint',
        'vision_fingerprint',
    ):
        assert getattr(again, name) == getattr(found, name)
    assert [each.name for each in tmp_path.iterdir()] == ['a.npz']


def test_rows_by_name(tiny_model):
    found = encode(tiny_model, ('a', 'b', 'c'))
    assert torch.equal(found.rows(['c', 'a']), found.embeddings[[2, 0]])
    with pytest.raises(ValueError, match=r"no class 'd' \(1 of 2 are miss"):
        found.rows(['a', 'd'])


def test_bad_files(tiny_model, tmp_path):
    with pytest.raises(CheckpointError, match='dump_text_embeddings'):
        TextEmbeddings.load(tmp_path / 'none.npz')
    with pytest.raises(ValueError, match=r'end in \.npz'):
        encode(tiny_model).save(tmp_path / 'a.pth')
    for content in (dict(a=np.ones(1)), dict(about=np.array([{}]))):
        np.savez(tmp_path / 'bad.npz', **content)
        with pytest.raises(CheckpointError, match='no file of text embed'):
            TextEmbeddings.load(tmp_path / 'bad.npz')
    for text in (b'', b'PK\x03\x04 torn', b'no archive'):
        (tmp_path / 'bad.npz').write_bytes(text)
        with pytest.raises(CheckpointError, match='no file of text embed'):
            TextEmbeddings.load(tmp_path / 'bad.npz')
    short = copy.copy(encode(tiny_model))
    replace(short, classes=('dog',)).save(tmp_path / 'short.npz')
    with pytest.raises(CheckpointError, match='for 1 classes'):
        TextEmbeddings.load(tmp_path / 'short.npz')


def test_norms(tiny_model):
    rows = encode(tiny_model, templates='openai80').embeddings
    torch.testing.assert_close(rows, F.normalize(rows, dim=1))
    assert rows.dtype == torch.float32


def test_autocast_does_not_round(tiny_model):
    expected = encode(tiny_model).embeddings
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = encode(tiny_model).embeddings
    assert torch.equal(found, expected)
