"""Files that are no CLIP: one clear sentence each."""

import argparse
import gzip
import json
import os
import zipfile

import numpy as np
import pytest
import torch
from references import (
    OPEN_CLIP,
    huggingface_model,
    open_clip_model,
    save,
)
from torch import nn

from harmoclip_mm import load_clip
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.models.checkpoints import read_clip
from harmoclip_mm.models.checkpoints.pickles import CAN_ALLOW

pytest.importorskip('open_clip')


def cut(name, keep):
    """A checkpoint of a format, of which a part has arrived."""

    def make(folder):
        path, _ = save(name, folder)
        if os.path.isdir(path):
            path = os.path.join(path, 'model.safetensors')
        size = keep if keep > 1 else int(keep * os.path.getsize(path))
        os.truncate(path, size)
        return path

    return make


def file(name, content):
    def make(folder):
        path = folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content() if callable(content) else content, path)
        return path

    return make


def state(change):
    """open_clip's state dict with a change."""

    def make():
        weights = dict(open_clip_model().state_dict())
        return change(weights) or weights

    return make


def zip_of_images(folder):
    with zipfile.ZipFile(folder / 'data.zip', 'w') as archive:
        archive.writestr('a.jpg', b'x')
    return folder / 'data.zip'


def empty_folder(folder):
    (folder / 'clip').mkdir()
    return folder / 'clip'


def lost_shard(folder):
    path, _ = save('huggingface_sharded', folder)
    os.remove(sorted(folder.glob('*-of-*.safetensors'))[-1])
    return path


def broken_config(folder):
    path, _ = save('huggingface', folder)
    (folder / 'config.json').write_text('{"vision_config": ')
    return path


def other_epsilon(folder):
    model = huggingface_model()
    model.config.vision_config.layer_norm_eps = 1e-6
    model.save_pretrained(folder)
    return folder


def resnet_clip():
    import open_clip.model as model

    vision = dict(layers=[1, 1, 1, 1], width=16, image_size=64)
    return model.CLIP(**dict(OPEN_CLIP, vision_cfg=vision)).state_dict()


def layer_scale():
    import open_clip.model as model

    vision = dict(OPEN_CLIP['vision_cfg'], ls_init_value=0.1)
    return model.CLIP(**dict(OPEN_CLIP, vision_cfg=vision)).state_dict()


def without_block(weights):
    for name in list(weights):
        if name.startswith('visual.transformer.resblocks.1.'):
            del weights[name]


def vision_alone(weights):
    return {k: v for k, v in weights.items() if k.startswith('visual.')}


def with_bias(weights):
    weights['logit_bias'] = torch.zeros(())


def wide_head(weights):
    weights['text_projection'] = torch.zeros(64, 48)


def odd_grid(weights):
    weights['visual.positional_embedding'] = torch.zeros(14, 128)


def array(folder):
    np.save(folder / 'a.npy', np.zeros(3))
    return folder / 'a.npy'


LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n'
BAD = {
    'missing': (lambda f: f / 'no.pt', r'no\.pt does not exist'),
    'empty': (file('a.pt', b''), r'is empty \(0 bytes\)'),
    'empty_safetensors': (file('a.safetensors', b''), 'is empty'),
    'half_zip': (cut('open_clip', 0.5), 'ends too early'),
    'start_of_zip': (cut('open_clip', 600), 'ends too early'),
    'half_old': (cut('open_clip_old_torch', 0.5), 'damaged|incomplete'),
    'half_archive': (cut('openai_archive', 0.7), 'ends too early'),
    'half_safetensors': (cut('huggingface', 0.5), 'stopped early'),
    'header_of_safetensors': (cut('huggingface', 100), 'stopped early'),
    'lost_shard': (lost_shard, 'shard .* does not exist'),
    'text': (file('a.pt', b'Not found\n'), "text; it begins with 'Not found"),
    'page': (file('a.pt', b'\n<!DOCTYPE html><html>'), 'web page'),
    'lfs': (file('a.safetensors', LFS), 'Git LFS pointer'),
    'json': (file('a.json', b'{"a": 1}'), 'a.json'),
    'png': (file('a.pt', b'\x89PNG\r\n\x1a\n\x00\x00'), 'a PNG image'),
    'gzip': (file('a.pt', gzip.compress(b'x' * 99)), 'compressed by gzip'),
    'noise': (file('a.pt', bytes(range(255, 0, -1)) * 9), 'cannot be read'),
    'numpy': (array, 'a NumPy array'),
    'zip': (zip_of_images, r'zip archive of 1 files, the first is a\.jpg'),
    'folder': (empty_folder, 'holds no checkpoint of a known name'),
    'broken_config': (broken_config, r'config\.json cannot be read'),
    'epsilon': (other_epsilon, 'epsilon 1e-06, but CLIP has 1e-5'),
    'optimizer': (
        file('a.pt', {'optimizer': {}, 'epoch': 1}),
        'no state dict but a dict with the keys optimizer, epoch',
    ),
    'list': (file('a.pt', [torch.ones(1)]), 'no state dict but a list'),
    'resnet': (
        file('a.pt', {'layer4.0.conv1.weight': torch.ones(1)}),
        'no CLIP of a known format but a ResNet',
    ),
    'detector': (
        file('a.pth', {'state_dict': {'roi_head.x': torch.ones(1)}}),
        'but a detector',
    ),
    'linear': (
        file('a.pt', lambda: nn.Linear(1, 1).state_dict()),
        'a model with the weights weight, bias',
    ),
    'clip_rn50': (file('a.pt', resnet_clip), 'ResNet|no vision tower'),
    'layer_scale': (file('a.pt', layer_scale), 'LayerScale'),
    'siglip': (file('a.pt', state(with_bias)), 'SigLIP'),
    'gap': (file('a.pt', state(without_block)), r'lacks 12 .*resblocks\.1'),
    'vision': (file('a.pt', state(vision_alone)), 'has no text tower'),
    'odd_grid': (file('a.pt', state(odd_grid)), '13 position embeddings'),
    'joint': (file('a.pt', state(wide_head)), 'share one joint space'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_files(tmp_path, name):
    make, message = BAD[name]
    with pytest.raises(CheckpointError, match=message) as error:
        load_clip(str(make(tmp_path)))
    text = str(error.value)
    assert str(tmp_path) in text  # it names the file
    assert len(text) < 700 and text.count('\n') == 0


class _Attack:
    """Unpickled in full, makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.skipif(not CAN_ALLOW, reason='torch < 2.6')
@pytest.mark.parametrize('new', [True, False])
def test_objects_are_named_and_not_made(tmp_path, new):
    path = str(tmp_path / 'epoch.pt')
    weights = open_clip_model(quick_gelu=False).state_dict()
    torch.save(
        dict(
            state_dict=weights,
            args=argparse.Namespace(lr=1),
            attack=_Attack(tmp_path / 'made'),
        ),
        path,
        _use_new_zipfile_serialization=new,
    )
    with pytest.raises(CheckpointError) as error:
        load_clip(path)
    text = str(error.value)
    assert 'argparse.Namespace' in text and 'mkdir' in text
    assert 'OrderedDict' not in text and 'FloatStorage' not in text
    assert 'trust_pickle=True' in text
    assert not (tmp_path / 'made').exists()
    # who trusts the file may say so, and then its code does run
    model = load_clip(path, trust_pickle=True)
    assert (tmp_path / 'made').exists()
    assert model.checkpoint_info['format'] == 'open_clip'


def test_a_pickled_model_is_refused_and_may_be_trusted(tmp_path):
    path = str(tmp_path / 'model.pt')
    torch.save(open_clip_model(), path)
    with pytest.raises(CheckpointError, match=r'open_clip\.model\.CLIP'):
        read_clip(path)
    assert read_clip(path, trust_pickle=True).form.name == 'open_clip'


def test_an_archive_with_other_objects_is_refused(tmp_path):
    """A pickle that calls a function, in the clothes of TorchScript."""
    path, _ = save('openai_archive', tmp_path)
    bad = tmp_path / 'bad.pt'
    code = b'cos\nmkdir\n(V' + str(tmp_path / 'made').encode() + b'\ntR.'
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(bad, 'w') as target:
        for item in source.infolist():
            is_data = item.filename.endswith('/data.pkl')
            target.writestr(item, code if is_data else source.read(item))
    with pytest.raises(CheckpointError, match=r'os\.mkdir'):
        load_clip(str(bad))
    assert not (tmp_path / 'made').exists()


def test_a_wrong_name_of_an_architecture(tmp_path):
    path, _ = save('open_clip', tmp_path)
    with pytest.raises(CheckpointError, match=r'width without a name, not V'):
        load_clip(path, arch='ViT-B-16')
    with pytest.raises(CheckpointError, match='choose one of ViT-B-32'):
        load_clip(path, arch='ViT-B-61')
    with pytest.raises(CheckpointError, match='quick_gelu'):
        load_clip(path, activation='relu')


def test_what_finds_no_use_is_named(tmp_path, info_log):
    weights = open_clip_model().state_dict()
    weights['text_decoder.proj'] = torch.ones(1)
    weights['attn_mask'] = torch.ones(1)
    torch.save(weights, tmp_path / 'a.pt')
    load_clip(str(tmp_path / 'a.pt'))
    warned = [text for level, text in info_log if level >= 30]
    assert len(warned) == 1 and 'not used: text_decoder.proj' in warned[0]
    assert any('computed: attn_mask' in message for _, message in info_log)


def test_a_config_beside_a_lone_file_is_not_believed(tmp_path):
    path, _ = save('open_clip', tmp_path)
    (tmp_path / 'config.json').write_text('no JSON')
    (tmp_path / 'open_clip_config.json').write_text(
        json.dumps(dict(model_cfg=dict(quick_gelu=True)))
    )
    assert read_clip(path).activation.text == 'gelu'
