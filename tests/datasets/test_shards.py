"""Images that are read where they lie in tars."""

import gzip
import io
import json
import os
import tarfile

import numpy as np
import pytest
import torch
from mmengine.fileio import BaseStorageBackend, LocalBackend, register_backend
from torch.utils.data import DataLoader

from harmoclip_mm.datasets import RegionPhraseDataset
from harmoclip_mm.datasets.shards import (
    TarShards,
    expand_braces,
    open_shards,
    read_image,
)
from harmoclip_mm.datasets.transforms import BadImageError
from harmoclip_mm.errors import DataError

DOG = {'bbox': [4, 4, 30, 30], 'phrase': 'dog', 'tokens_positive': [[2, 5]]}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def write_tar(path, members, **kwargs):
    """A tar of (name, bytes), in pax format as img2dataset writes it."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, 'w', **kwargs) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def as_img2dataset(*keys):
    """Members of a shard: of each key an image, its caption and facts."""
    for key in keys:
        yield f'{key}.jpg', f'image {key}'.encode() * 99
        yield f'{key}.json', json.dumps({'key': key}).encode()
        yield f'{key}.txt', b'A dog.'


@pytest.fixture
def three_shards(tmp_path):
    folder = tmp_path / 'shards'
    for number in range(8, 11):
        keys = [f'{number:05d}{place:04d}' for place in range(20)]
        write_tar(folder / f'{number:05d}.tar', as_img2dataset(*keys))
    return f'{folder}/{{00008..00010}}.tar'


@pytest.mark.parametrize(
    'pattern, paths',
    [
        ('a.tar', 'a.tar'),
        ('{8..11}.tar', '8.tar 9.tar 10.tar 11.tar'),
        ('{098..101}', '098 099 100 101'),
        ('{a,b}/{0..1}.tar', 'a/0.tar a/1.tar b/0.tar b/1.tar'),
        ('x{,y}{2..2}', 'x2 xy2'),
        ('{a}{..}{3..2}', '{a}{..}3 {a}{..}2'),
        ('{10..8}.tar', '10.tar 9.tar 8.tar'),
    ],
)
def test_braces_are_those_of_a_shell(pattern, paths):
    assert expand_braces(pattern) == paths.split()


def test_images_of_all_shards_are_read_by_their_names(three_shards):
    shards = TarShards(three_shards)
    assert len(shards) == 60  # neither captions nor json
    for key in ('000080000', '000090013', '000100019'):
        content = f'image {key}'.encode() * 99
        assert shards.read(f'{key}.jpg') == content
        assert read_image(f'{three_shards}/{key}.jpg') == content
    with pytest.raises(FileNotFoundError, match='none of the 3 tars'):
        shards.read('000080000.json')


def test_names_as_tars_have_them(tmp_path):
    long, far = 'x' * 150 + '.png', 'y' * 90 + '/' + 'z' * 90 + '.webp'
    names = ['./a.JPG', 'b/c.jpeg', long, far, 'Käse 1.jpg', 'twice.jpg']
    members = [(name, name.encode() * 3) for name in names]
    members.append(('twice.jpg', b'again'))
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path = tmp_path / f'{form}.tar'
        write_tar(path, members, format=form)
        shards = TarShards(str(path))
        for name in names[:5]:
            found = shards.read(name[2:] if name[0] == '.' else name)
            assert found == name.encode() * 3
        assert shards.read('twice.jpg') == b'again'


def test_a_name_in_several_shards_is_asked_for_with_its_shard(tmp_path):
    for shard in 'ab':
        write_tar(tmp_path / f'{shard}.tar', [('0.jpg', shard.encode())])
    write_tar(tmp_path / 'c.tar', [('b/0.jpg', b'a folder'), ('1.jpg', b'1')])
    shards = TarShards(f'{tmp_path}/{{a,b,c}}.tar')
    with pytest.raises(OSError, match=r'in 2 tars, .*a\.tar and .*SHARD/NAME'):
        shards.read('0.jpg')
    assert shards.read('a/0.jpg') == b'a'
    assert shards.read('b/0.jpg') == b'a folder'  # a member of this very name
    assert shards.read('c/1.jpg') == b'1'
    with pytest.raises(FileNotFoundError):
        shards.read('c/0.jpg')


def test_the_second_opening_maps_and_walks_through_nothing(
    three_shards, monkeypatch
):
    TarShards(three_shards)
    folder = os.path.dirname(three_shards)
    (index,) = (name for name in os.listdir(folder) if 'index' in name)
    assert index == '{00008..00010}.tar.index'
    assert os.path.getsize(f'{folder}/{index}') < 60 * 20 + 400

    def walk(*args, **kwargs):
        raise AssertionError('a tar was walked through')

    monkeypatch.setattr(tarfile, 'open', walk)
    shards = TarShards(three_shards)
    assert shards.read('000080003.jpg')
    assert isinstance(shards.rows.base, np.memmap)


def test_a_shard_that_changed(three_shards):
    shards = TarShards(three_shards)
    path = three_shards.replace('{00008..00010}', '00009')
    stat = os.stat(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(OSError, match=r'00009\.tar was changed'):
        shards.read('000090000.jpg')
    assert shards.read('000080000.jpg')  # others are as they were
    assert TarShards(three_shards).read('000090000.jpg')
    with tarfile.open(path, 'a') as tar:
        info = tarfile.TarInfo('new.jpg')
        info.size = 3
        tar.addfile(info, io.BytesIO(b'new'))
    assert TarShards(three_shards).read('new.jpg') == b'new'


def cut(*, to):
    def change(path):
        os.truncate(path, to)

    return change


def compress(path):
    content = path.read_bytes()
    path.write_bytes(gzip.compress(content))


def spoil_a_header(path):
    with open(path, 'rb+') as file:
        file.seek(3 * 512)
        file.write(b'\xff' * 512)


@pytest.mark.parametrize(
    'change',
    [
        cut(to=0),
        cut(to=100),  # in the first header
        cut(to=512 + 100),  # in its image
        cut(to=3 * 512),  # behind an image
        cut(to=3 * 512 + 100),  # in a header further on
        cut(to=8 * 512),  # in the last image
        cut(to=9 * 512),  # before the mark of the end
        compress,
        spoil_a_header,
    ],
)
def test_a_tar_that_is_not_whole_is_named(tmp_path, change):
    path = tmp_path / 'shards' / '0.tar'
    write_tar(path, [(f'{name}.jpg', b'x' * 1000) for name in 'abc'])
    change(path)
    with pytest.raises(DataError, match=r'0\.tar: the tar is cut off, damag'):
        TarShards(str(path))
    assert os.listdir(path.parent) == ['0.tar']


def test_a_tar_that_is_missing_is_named(three_shards):
    pattern = three_shards.replace('10}', '11}')
    with pytest.raises(DataError, match=r'00011\.tar: .*No such file.* 4 tha'):
        TarShards(pattern)
    assert not any('index' in x for x in os.listdir(os.path.dirname(pattern)))


def test_paths_without_tars_are_files(tmp_path):
    assert open_shards(str(tmp_path)) is None
    (tmp_path / 'a.tar').write_bytes(b'a tar as such')
    assert read_image(str(tmp_path / 'a.tar')) == b'a tar as such'


def test_other_file_backends_are_fetched(three_shards):
    class Store(BaseStorageBackend):
        def get(self, filepath):
            return LocalBackend().get(filepath.replace('there', 'shards'))

        def get_text(self, filepath):
            raise NotImplementedError

    register_backend('test_shard_store', Store, force=True)
    path = three_shards.replace('shards', 'there') + '/000090003.jpg'
    content = read_image(path, {'backend': 'test_shard_store'})
    assert content == b'image 000090003' * 99
    with pytest.raises(DataError, match=r'00011\.tar.*cannot be read'):
        read_image(path.replace('10}', '11}'), {'backend': 'test_shard_store'})


@pytest.fixture
def photos(tiny_data):
    """The same photos as files and in tars, and their lines."""
    names = [f'{number}.jpg' for number in range(12)]
    contents = [tiny_data.image(name).read_bytes() for name in names]
    for shard in range(3):
        part = slice(4 * shard, 4 * shard + 4)
        members = zip(names[part], contents[part])
        write_tar(tiny_data.root / 'tars' / f'{shard}.tar', members)
    lines = [tiny_data.grounding(name, 'A dog.', DOG) for name in names]
    ann_file = tiny_data.jsonl(*lines)
    pipeline = [
        {'type': 'LoadCheckedImage'},
        {'type': 'mmdet.LoadAnnotations', 'with_bbox': True},
        {'type': 'PackRegionTextInputs'},
    ]

    def build(prefix, **kwargs):
        return RegionPhraseDataset(
            data_root=str(tiny_data.root),
            data_prefix={'img': prefix},
            ann_file=ann_file,
            pipeline=pipeline,
            **kwargs,
        )

    return build


@pytest.mark.usefixtures('forkserver')
@pytest.mark.parametrize('context', ['fork', 'forkserver'])
def test_workers_read_from_tars_what_they_read_from_files(photos, context):
    files, tars = photos('images'), photos('tars/{0..2}.tar')
    loader = DataLoader(
        tars,
        batch_size=None,
        num_workers=2,
        multiprocessing_context=context,
    )
    for index, sample in enumerate(loader):
        expected = files[index]
        assert torch.equal(sample['inputs'], expected['inputs'])
        path = sample['data_samples'].img_path
        assert path.endswith(f'tars/{{0..2}}.tar/{index}.jpg')
    assert index == 11


def test_a_bad_image_in_a_tar_is_replaced_and_told(photos, tiny_data):
    path = tiny_data.root / 'tars' / '1.tar'
    dataset = photos('tars/{0..2}.tar')
    with open(path, 'rb+') as file:
        file.truncate(3000)
    sample = dataset[4]
    assert not sample['data_samples'].img_path.endswith('/4.jpg')
    assert dataset.counters.totals()['bad_images'] >= 1
    dataset.test_mode = True
    with pytest.raises(BadImageError, match=r'tar/4\.jpg: .*1\.tar was chang'):
        dataset[4]
    with pytest.raises(DataError, match=r'1\.tar: the tar is cut off'):
        photos('tars/{0..2}.tar')
    two = photos('tars/{0,2}.tar', test_mode=True)
    with pytest.raises(BadImageError, match=r'4\.jpg: .*none of the 2 tars'):
        two[4]
