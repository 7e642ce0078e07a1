"""Whatever stands in a config beside weights or in a file of embeddings: it
is used as open_clip uses it, or refused by a sentence that names the file."""

import copy
import json

import numpy as np
import pytest
import references
import torch
from open_clip import create_model

from harmoclip_mm.apis import load_clip
from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.classifiers import TextEmbeddings

WRONG = None, True, -1, 99, 0.5, 'x', [], {}, {'a': 1}


def places_of(value, path=()):
    """Every key of an object, as the keys that lead there."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield (*path, key)
        yield from places_of(inner, (*path, key))


def changes_of(content):
    """Places, what is put there, and the content then."""
    for place in places_of(content):
        for wrong in (*WRONG, 'missing', 'added'):
            changed = copy.deepcopy(content)
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            if wrong == 'missing':
                del inner[place[-1]]
            elif wrong == 'added':
                inner['an_unknown_key'] = 1
            else:
                inner[place[-1]] = wrong
            yield place, wrong, changed


def write(folder, config):
    path = folder / 'open_clip_config.json'
    path.write_text(json.dumps(config))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A small CLIP in a folder of open_clip, its config and a picture."""
    path = tmp_path_factory.mktemp('clip')
    references.save('open_clip_siglip', path)
    config = json.loads((path / 'open_clip_config.json').read_text())
    config['preprocess_cfg'] = dict(
        mean=[0.5, 0.4, 0.3],
        std=[0.2, 0.3, 0.4],
        interpolation='bilinear',
        resize_mode='squash',
    )
    return path, config


@pytest.mark.slow
@torch.no_grad()
def test_every_key_of_a_config_is_used_or_refused(folder):
    path, config = folder
    img = torch.randn(1, 3, references.IMAGE_SIZE, references.IMAGE_SIZE)
    ids = torch.randint(1, 400, (1, 16))
    (path / 'open_clip_config.json').write_text(json.dumps(config))
    whole = create_model(f'local-dir:{path}').eval()
    faults, loaded = [], 0
    for place, wrong, changed in changes_of(config):
        (path / 'open_clip_config.json').write_text(json.dumps(changed))
        try:
            ours = load_clip(str(path))
        except UsageError as error:
            if str(path) not in str(error):
                faults.append((place, wrong, str(error)))
            continue
        except Exception as error:
            faults.append((place, wrong, repr(error)))
            continue
        loaded += 1
        try:
            theirs = create_model(f'local-dir:{path}').eval()
        except RuntimeError:  # without custom_text, which we need not be told
            theirs = whole
        pairs = (
            (ours.backbone.encode(img).pooled, theirs.encode_image(img)),
            (ours.text_encoder(ids).pooled, theirs.encode_text(ids)),
            (ours.spec.mean, tuple(theirs.visual.preprocess_cfg['mean'])),
            (ours.spec.std, tuple(theirs.visual.preprocess_cfg['std'])),
        )
        try:
            for one, other in pairs:
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
        except AssertionError as error:
            faults.append((place, wrong, str(error)))
    assert loaded > 20
    assert not faults, faults[:9]


def test_embeddings_that_are_none(tmp_path):
    """Every array of a file is left out or of another kind."""
    path = tmp_path / 'two.npz'
    found = TextEmbeddings(torch.eye(2), ('a', 'b'), ('{}',), 't', 'v')
    found.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(arrays['about'].tobytes())
    changes = [{}, {'embeddings': arrays['embeddings']}]
    changes += [
        dict(arrays, embeddings=np.array(wrong))
        for wrong in (0.5, [[1.0, 0.0]], [[np.nan] * 2] * 2, [['a', 'b']] * 2)
    ]
    for _, _, changed in changes_of(about):
        text = np.frombuffer(json.dumps(changed).encode(), dtype=np.uint8)
        changes.append(dict(arrays, about=text))
    for changed in changes:
        np.savez(path, **changed)
        try:
            found = TextEmbeddings.load(path)
        except UsageError as error:
            assert 'two.npz' in str(error)
            continue
        assert found.embeddings.shape == (2, 2)
        assert found.embeddings.isfinite().all()
        for names in (found.classes, found.templates):
            assert all(isinstance(name, str) for name in names)
        assert isinstance(found.vision_fingerprint, str)
