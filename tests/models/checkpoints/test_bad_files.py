"""Files that are no CLIP, or a hostile one: one clear sentence each."""

import argparse
import gzip
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from references import OPEN_CLIP, build, save
from torch import nn

from harmoclip_mm import load_clip
from harmoclip_mm.errors import CheckpointError
from harmoclip_mm.models.checkpoints import load_weights_only, unpickling


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
        weights = dict(build(OPEN_CLIP).state_dict())
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


def unknown_keys(place):
    """A folder of open_clip whose config says more than open_clip knows."""

    def make(folder):
        path, _ = save('open_clip_folder', folder)
        config = folder / 'open_clip_config.json'
        text = config.read_text()
        config.write_text(text.replace(place, f'"use_rope": true, {place}'))
        return path

    return make


def vision_alone(weights):
    return {k: v for k, v in weights.items() if k.startswith('visual.')}


def array(folder):
    np.save(folder / 'a.npy', np.zeros(3))
    return folder / 'a.npy'


LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n'
BAD = {
    'missing': (lambda f: f / 'no.pt', r'no\.pt does not exist'),
    'empty': (file('a.pt', b''), r'\(0 bytes'),
    'empty_safetensors': (file('a.safetensors', b''), r'\(0 bytes'),
    'half_zip': (cut('open_clip', 0.5), 'download is incomplete'),
    'start_of_zip': (cut('open_clip', 600), 'download is incomplete'),
    'half_old': (cut('open_clip_old_torch', 0.5), 'download is incomplete'),
    'half_archive': (cut('openai_archive', 0.7), 'download is incomplete'),
    'half_safetensors': (cut('huggingface', 0.5), 'download is incomplete'),
    'header_of_safetensors': (cut('huggingface', 100), 'is incomplete'),
    'lost_shard': (lost_shard, r'-of-0000.\.safetensors does not exist'),
    'text': (file('a.pt', b'Not found\n'), "beginning with b'Not found"),
    'page': (file('a.pt', b'<!DOCTYPE html><html>'), 'DOCTYPE html'),
    'lfs': (file('a.safetensors', LFS), 'version https://git-lfs'),
    'json': (file('a.json', b'{"a": 1}'), r'a\.json'),
    'png': (file('a.pt', b'\x89PNG\r\n\x1a\n\x00\x00'), 'PNG'),
    'gzip': (file('a.pt', gzip.compress(b'x' * 99)), 'cannot be read'),
    'noise': (file('a.pt', bytes(range(255, 0, -1)) * 9), 'cannot be read'),
    'numpy': (array, 'NUMPY'),
    'zip': (zip_of_images, 'cannot be read'),
    'folder': (empty_folder, 'no checkpoint of a known name'),
    'broken_config': (broken_config, r'config\.json cannot be read as a JSON'),
    'unknown_key': (unknown_keys('"embed_dim"'), 'use_rope'),
    'unknown_vision_key': (unknown_keys('"patch_size"'), 'use_rope'),
    'unknown_text_key': (unknown_keys('"heads"'), 'use_rope'),
    'list': (file('a.pt', [1, 2]), r'no state dict but \[1, 2\]'),
    'numbers': (file('a.pt', dict(epoch=1)), "no state dict but {'epoch': 1}"),
    'resnet': (
        file('a.pt', {'layer4.0.conv1.weight': torch.ones(1)}),
        'no whole CLIP of a known format: its weights are called layer4',
    ),
    'vision': (file('a.pt', state(vision_alone)), 'no whole CLIP'),
    'several_text': (file('a.pt', state(lambda w: None)), 'fit no CLIP'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_files(tmp_path, name):
    make, message = BAD[name]
    with pytest.raises(CheckpointError, match=message) as error:
        load_clip(str(make(tmp_path)))
    text = str(error.value)
    assert str(tmp_path) in text  # it names the file
    assert len(text) < 900 and text.count('\n') == 0


class Calls:
    """Unpickled in full, calls a function."""

    def __init__(self, function, *args):
        self.made = function, args

    def __reduce__(self):
        return self.made


def hostile(name, folder):
    """Bytes of a pickle that makes a folder, or asks for what could."""
    made = str(folder / 'made')
    if name == 'mkdir':
        return pickle.dumps(Calls(os.mkdir, made), 2)
    if name == 'loads':
        inner = pickle.dumps(Calls(os.mkdir, made), 2)
        return pickle.dumps(Calls(torch.storage._load_from_bytes, inner), 2)
    if name == 'getattr':
        return pickle.dumps(Calls(getattr, np.ndarray, 'tofile'), 2)
    if name == 'eval':
        return pickle.dumps(
            Calls(eval, f'__import__("os").mkdir("{made}")'), 2
        )
    # STACK_GLOBAL with names from the memo, which a reader of opcodes that
    # takes the last two strings mistakes for others.
    return b''.join(
        [
            b'\x80\x04\x8c\x02os\x94\x8c\x05mkdir\x94',
            b'\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94',
            b'h\x00h\x01\x93',
            b'X' + len(made).to_bytes(4, 'little') + made.encode(),
            b'\x85R.',
        ]
    )


def replace_pickle(good, bad, code):
    """An archive with another pickle."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, 'w') as target:
        for item in source.infolist():
            is_data = item.filename.endswith('/data.pkl')
            target.writestr(item, code if is_data else source.read(item))


@pytest.mark.parametrize('archive', [True, False])
@pytest.mark.parametrize(
    'name', ['mkdir', 'loads', 'getattr', 'eval', 'memoised']
)
def test_code_is_never_run(tmp_path, name, archive, road):
    """In archives and plain pickles."""
    path, code = tmp_path / 'bad.pt', hostile(name, tmp_path)
    if archive:
        torch.save(dict(a=torch.zeros(1)), tmp_path / 'good.pt')
        replace_pickle(tmp_path / 'good.pt', path, code)
    else:
        path.write_bytes(code)
    with pytest.raises(CheckpointError):
        load_weights_only(str(path))
    with pytest.raises(CheckpointError, match=r'bad\.pt'):
        load_clip(str(path))
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('new', [True, False])
def test_objects_are_named_and_not_made(tmp_path, new):
    path = str(tmp_path / 'epoch.pt')
    torch.save(
        dict(
            state_dict=build(OPEN_CLIP).state_dict(),
            args=argparse.Namespace(lr=1),
            attack=Calls(os.mkdir, str(tmp_path / 'made')),
        ),
        path,
        _use_new_zipfile_serialization=new,
    )
    with pytest.raises(CheckpointError) as error:
        load_clip(path, arch=OPEN_CLIP)
    text = str(error.value)
    assert 'more than weights (argparse.Namespace)' in text
    assert 'trust_pickle=True' in text and '\n' not in text
    assert not (tmp_path / 'made').exists()
    # who trusts the file may say so, and then its code does run
    model = load_clip(path, arch=OPEN_CLIP, trust_pickle=True)
    assert (tmp_path / 'made').exists()
    assert model.checkpoint_info['format'] == 'open_clip'


def test_a_pickled_model_is_refused_and_may_be_trusted(tmp_path):
    path = str(tmp_path / 'model.pt')
    torch.save(build(OPEN_CLIP), path)
    with pytest.raises(CheckpointError, match=r'open_clip\.model\.CLIP'):
        load_clip(path, arch=OPEN_CLIP)
    load_clip(path, arch=OPEN_CLIP, trust_pickle=True)


@pytest.mark.parametrize(
    'code', [b'cos\nmkdir\n(V%s\ntR.', b'ctorch\nloadStorage\n(V%s\ntR.']
)
def test_an_archive_with_other_objects_is_refused(tmp_path, code):
    """A pickle that calls a function, in the clothes of TorchScript."""
    path, _ = save('openai_archive', tmp_path)
    bad = tmp_path / 'bad.pt'
    code = code % str(tmp_path / 'made').encode()
    replace_pickle(path, bad, code)
    with pytest.raises(CheckpointError, match=r'GLOBAL (os|torch)\.'):
        load_clip(str(bad))
    assert not (tmp_path / 'made').exists()


def test_storages_of_an_archive_end_where_they_end(tmp_path):
    """Sizes that a pickle claims are held against what is there."""
    values = torch.zeros(4)
    with pytest.raises(RuntimeError, match='out of bounds'):
        unpickling._strided(values, 0, (8,), (1,))


def test_one_file_in_the_place_of_another(tmp_path):
    """A whole CLIP of another kind."""
    path, _ = save('open_clip', tmp_path)
    with pytest.raises(CheckpointError, match=r'ViT-B-16 that the model is'):
        load_clip(path, arch='ViT-B-16')
    other = dict(OPEN_CLIP, text_cfg=dict(OPEN_CLIP['text_cfg'], width=128))
    with pytest.raises(CheckpointError, match=r'text\.ln_final.* is \(64,\)'):
        load_clip(path, arch=other)
    resnet = dict(layers=[1, 1, 1, 1], width=16, image_size=64)
    with pytest.raises(CheckpointError, match='visual'):
        load_clip(path, arch=dict(OPEN_CLIP, vision_cfg=resnet))
    scale = dict(OPEN_CLIP['vision_cfg'], ls_init_value=0.1)
    with pytest.raises(CheckpointError, match=r'ls_1\.gamma is absent in the'):
        load_clip(path, arch=dict(OPEN_CLIP, vision_cfg=scale))
    biased = dict(OPEN_CLIP, init_logit_bias=-10)
    with pytest.raises(CheckpointError, match='logit_bias is absent in the'):
        load_clip(path, arch=biased)


def test_a_config_beside_a_lone_file_is_not_believed(tmp_path):
    path, _ = save('open_clip', tmp_path)
    for name in 'config.json', 'open_clip_config.json':
        (tmp_path / name).write_text('no JSON')
    load_clip(path, arch=OPEN_CLIP)


def test_a_module_prefix_and_what_is_computed(tmp_path):
    weights = build(OPEN_CLIP).state_dict()
    weights['attn_mask'] = torch.ones(1)
    wrapped = nn.DataParallel(nn.Identity())
    assert not list(wrapped.state_dict())
    torch.save(
        {f'_orig_mod.module.{k}': v for k, v in weights.items()},
        tmp_path / 'a.pt',
    )
    load_clip(str(tmp_path / 'a.pt'), arch=OPEN_CLIP)
