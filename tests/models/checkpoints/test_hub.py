"""``hf-hub:`` names and addresses, without a network."""

import shutil
import sys

import pytest
import torch
from references import save

from harmoclip_mm import load_clip
from harmoclip_mm.errors import CheckpointError

hub = pytest.importorskip('huggingface_hub')
pytest.importorskip('open_clip')
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
    assert 'huggingface-cli download someone/some-clip --local-dir' in text
    assert '\n' not in text


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
    assert 'config.json says so' in model.checkpoint_info['activation_reason']


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(CheckpointError, match='pip install huggingface_hub'):
        load_clip('hf-hub:someone/some-clip')


def test_an_address(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    # a port that nobody listens on
    with pytest.raises(CheckpointError, match=r'copy the file to .*model\.pt'):
        load_clip('http://127.0.0.1:9/model.pt?download=1')
    source = tmp_path / 'source'
    source.mkdir()
    path, _ = save('open_clip', source)
    shutil.copy(path, tmp_path / 'hub' / 'checkpoints' / 'model.pt')
    model = load_clip('http://127.0.0.1:9/model.pt?download=1')
    assert model.checkpoint_info['format'] == 'open_clip'
