"""``hf-hub:`` names and addresses, without a network."""

import shutil

import huggingface_hub as hub
import pytest
import torch
from references import OPEN_CLIP, save

from harmoclip_mm import load_clip
from harmoclip_mm.errors import CheckpointError, UsageError
from harmoclip_mm.models.checkpoints.addresses import fetch
from harmoclip_mm.models.towers import clip_spec

REVISION = '0123456789abcdef0123456789abcdef01234567'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and a hub that cannot be reached."""
    folder = tmp_path / 'cache'
    constants = hub.constants
    # set when huggingface_hub is imported; each module asks for them there
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(folder))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    return folder


def test_without_a_network_it_says_what_to_do(cache):
    with pytest.raises(CheckpointError) as error:
        load_clip('hf-hub:someone/some-clip@main')
    text = str(error.value)
    assert 'hf-hub:someone/some-clip@main can neither be fetched' in text
    assert 'hf download someone/some-clip --local-dir' in text
    assert '\n' not in text
    with pytest.raises(UsageError) as error:
        clip_spec('hf-hub:someone/some-clip@main')
    text = str(error.value)
    assert 'bring its folder' in text and '\n' not in text


@pytest.mark.parametrize(
    'name', ['huggingface', 'huggingface_sharded', 'open_clip_folder']
)
def test_what_is_in_the_cache_is_loaded(cache, tmp_path, name):
    source = tmp_path / 'source'
    source.mkdir()
    path, reference = save(name, source)
    repo = cache / 'models--someone--some-clip'
    shutil.copytree(path, repo / 'snapshots' / REVISION)
    (repo / 'refs').mkdir()
    (repo / 'refs' / 'main').write_text(REVISION)
    model = load_clip('hf-hub:someone/some-clip')
    img = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            model.backbone.encode(img).pooled,
            reference.image(img),
            rtol=1e-4,
            atol=1e-5,
        )
    if name == 'open_clip_folder':
        for clip in ('some-clip', 'some-clip@main', f'some-clip@{REVISION}'):
            assert clip_spec(f'hf-hub:someone/{clip}').mean == (0.5,) * 3


@pytest.mark.parametrize(
    'files, fetched',
    [
        (['model.safetensors', 'pytorch_model.bin'], ['model.safetensors']),
        (
            ['open_clip_model.safetensors', 'model.safetensors'],
            ['open_clip_model.safetensors'],
        ),
        (
            [
                'model.safetensors.index.json',
                'model-00001-of-00002.safetensors',
                'model-00002-of-00002.safetensors',
                'pytorch_model.bin',
            ],
            [
                'model-00001-of-00002.safetensors',
                'model-00002-of-00002.safetensors',
            ],
        ),
    ],
)
def test_one_set_of_weights_is_fetched(tmp_path, monkeypatch, files, fetched):
    """With configs and tokenizer, of a repository that holds several."""
    from fnmatch import fnmatch

    from harmoclip_mm.models.checkpoints import addresses

    def snapshot_download(repo, revision, allow_patterns):
        for name in [*files, 'config.json', 'tokenizer.json', 'README.md']:
            if any(fnmatch(name, pattern) for pattern in allow_patterns):
                (tmp_path / name).write_text('{}')
        return str(tmp_path)

    monkeypatch.setattr(addresses, 'snapshot_download', snapshot_download)
    assert fetch('hf-hub:someone/some-clip') == str(tmp_path)
    found = {path.name for path in tmp_path.iterdir()}
    configs = {'config.json', 'tokenizer.json'}
    assert found - {'model.safetensors.index.json'} == {*fetched, *configs}


def test_an_address(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    # a port that nobody listens on
    address = 'http://127.0.0.1:9/model.pt?download=1'
    with pytest.raises(CheckpointError) as error:
        load_clip(address)
    text = str(error.value)
    target = text.split('copy the file to ')[1].split(' or give')[0]
    assert target.endswith('-model.pt') and address in text
    source = tmp_path / 'source'
    source.mkdir()
    path, _ = save('open_clip', source)
    shutil.copy(path, target)
    model = load_clip(address, arch=OPEN_CLIP)
    assert model.checkpoint_info['path'] == target
    # another address whose last part is the same is another file
    with pytest.raises(CheckpointError, match='can neither be fetched'):
        load_clip('http://127.0.0.1:9/other/model.pt?download=1')
