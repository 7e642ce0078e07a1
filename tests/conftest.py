"""Fixtures that several tests share."""

import ctypes
import gc
import importlib.util
import json
import os
import random
import sys
from pathlib import Path

import numpy as np
import processes
import pytest
import torch
from filelock import FileLock
from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image
from pycocotools.coco import COCO

from harmoclip_mm.registry import MODELS
from harmoclip_mm.text import load_vocabulary

REPOSITORY = Path(__file__).resolve().parents[1]
processes.spare_configs()


def pytest_collection_modifyitems(items):
    """Begin with the files that have slow tests: one of them at the end would
    leave the other workers without work."""
    long = {x.path for x in items if x.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish():
    """Everything is imported."""
    processes.spare_the_collector()


@pytest.fixture(scope='module', autouse=True)
def no_scope_of_other_files():
    """Begin each file without the default scope that another file's runner
    left: which files came before depends on the number of workers."""
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def seeded():
    """Draw the same numbers whichever tests came before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope='module', autouse=True)
def memory_is_given_back():
    """Give a file's models back to the system at its end; the allocator would
    keep gigabytes of them in each worker."""
    yield
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, 'malloc_trim'):  # of glibc
        libc.malloc_trim(0)


@pytest.fixture
def much_memory(tmp_path_factory):
    """Let one test at a time have several gigabytes: the workers share one
    machine, and the system kills a worker when it is full."""
    shared = tmp_path_factory.getbasetemp().parent
    with FileLock(shared / 'much_memory.lock'):
        yield


@pytest.fixture(scope='session')
def coco_photos() -> Path:
    """Folder of real COCO photos: ``HARMOCLIP_TEST_DATA``, or
    ``../shared/data/coco_photos`` beside the repository."""
    default = REPOSITORY.parent / 'shared' / 'data' / 'coco_photos'
    folder = Path(os.environ.get('HARMOCLIP_TEST_DATA', default))
    if not (folder / 'annotations').is_dir():
        pytest.skip(
            f'no photos at {folder}; set HARMOCLIP_TEST_DATA to a folder in '
            'COCO layout'
        )
    return folder


@pytest.fixture(scope='session')
def run_tool():
    """Run a tool in this process as its command line would, which saves the
    seconds that a fresh Python takes to import the stack."""

    def run(path: str, *args) -> None:
        name = 'tool_' + Path(path).stem
        # as Python itself does
        sys.path.insert(0, str((REPOSITORY / 'tools' / path).parent))
        argv = sys.argv
        sys.argv = [path, *map(str, args)]
        try:
            if name not in sys.modules:
                spec = importlib.util.spec_from_file_location(
                    name, REPOSITORY / 'tools' / path
                )
                sys.modules[name] = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(sys.modules[name])
            sys.modules[name].main()
        finally:
            sys.argv = argv
            del sys.path[0]

    return run


@pytest.fixture(scope='session')
def run_apart(tmp_path_factory):
    """Run a tool in processes of their own, as its command line would or, if
    they are several, as ``dist_train.sh``; returns what they printed."""

    def run(path: str, *args, ranks=None, cwd='.', code=0, **env) -> str:
        log = tmp_path_factory.mktemp('apart') / 'log.txt'
        launcher = ('--launcher', 'pytorch') if ranks else ()
        codes = processes.run_python(
            [REPOSITORY / 'tools' / path, *args, *launcher],
            log,
            [
                processes.tool_environment(**each, **env)
                for each in (
                    processes.rank_environments(ranks) if ranks else [{}]
                )
            ],
            cwd,
        )
        printed = log.read_text()
        assert set(codes) == {code}, printed
        return printed

    return run


@pytest.fixture(scope='session')
def forkserver():
    """Context of fresh processes that need not import the package."""
    return processes.forkserver()


@pytest.fixture(scope='session')
def run_ranks(forkserver, tmp_path_factory):
    """Runs ``worker(rank, file, *args)`` in that many real processes.

    They may meet by ``file``, an ``init_method``: it cannot be taken as a
    port can, and waits as long as a group does, not the 300 s of a
    ``TCPStore``.
    """

    def run(worker, ranks, *args):
        file = f'file://{tmp_path_factory.mktemp("ranks")}/file'
        torch.multiprocessing.start_processes(
            worker, (file, *args), ranks, start_method='forkserver'
        )

    return run


@pytest.fixture(params=['told by name', 'before torch 2.6'])
def road(request, monkeypatch):
    """Torch's own reader, and the one that stands in for it."""
    if request.param == 'before torch 2.6':
        monkeypatch.delattr(
            torch.serialization,
            'get_unsafe_globals_in_checkpoint',
            raising=False,
        )


@pytest.fixture
def harmoclip_scope():
    """The default scope that the configs set."""
    init_default_scope('harmoclip_mm')


@pytest.fixture(scope='session')
def tiny_clip(tmp_path_factory):
    """Make folders that hold the tiny CLIP of the configs, for ``clip=``,
    with other settings of its ``vision_cfg``."""

    def make(**vision_cfg) -> str:
        path = REPOSITORY / 'configs/_base_/models/tiny_clip.py'
        model_cfg = Config.fromfile(path).tiny_clip.to_dict()
        model_cfg['vision_cfg'].update(vision_cfg)
        folder = tmp_path_factory.mktemp('clip')
        content = json.dumps(dict(model_cfg=model_cfg))
        (folder / 'open_clip_config.json').write_text(content)
        return str(folder)

    return make


class TinyData:
    """Writes small data sets into a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / 'images').mkdir()

    def image(self, name: str, width: int = 64, height: int = 48) -> Path:
        """Write a picture of random colours; a number in its name seeds it."""
        seed = sum(map(ord, name))
        pixels = np.random.default_rng(seed).integers(
            0, 256, (height, width, 3), dtype=np.uint8
        )
        path = self.root / 'images' / name
        Image.fromarray(pixels).save(path)
        return path

    def jsonl(self, *lines, name: str = 'odvg.jsonl') -> str:
        """Write lines, dicts or raw strings, and give the file's name."""
        texts = [x if isinstance(x, str) else json.dumps(x) for x in lines]
        (self.root / name).write_text('\n'.join(texts) + '\n')
        return name

    @staticmethod
    def grounding(
        filename: str,
        caption: str,
        *regions: dict,
        width: int = 64,
        height: int = 48,
    ) -> dict:
        """A grounding line."""
        return {
            'filename': filename,
            'height': height,
            'width': width,
            'grounding': {'caption': caption, 'regions': list(regions)},
        }


@pytest.fixture
def tiny_data(tmp_path, harmoclip_scope) -> TinyData:
    """A folder to write small data sets into."""
    return TinyData(tmp_path)


def write_coco(root: Path) -> None:
    """Eight pictures in COCO's layout, as train2017 and as val2017."""
    (root / 'annotations').mkdir(parents=True)
    categories = [
        {'id': number, 'name': name}
        for number, name in enumerate(CocoDataset.METAINFO['classes'], 1)
    ]
    for split in ('train2017', 'val2017'):
        (root / split).mkdir()
        images, boxes, captions = [], [], []
        for number in range(1, 9):
            name = f'{number}.jpg'
            pixels = np.random.default_rng(number).integers(
                0, 256, (48, 64, 3), dtype=np.uint8
            )
            Image.fromarray(pixels).save(root / split / name)
            images.append(
                {'id': number, 'file_name': name, 'width': 64, 'height': 48}
            )
            boxes.append(
                {
                    'id': number,
                    'image_id': number,
                    'category_id': 16,  # cat
                    'bbox': [4, 6, 40, 36],
                    'area': 1440,
                    'iscrowd': 0,
                }
            )
            captions.append(
                {'id': number, 'image_id': number, 'caption': 'A cat sits.'}
            )
        for kind, annotations in (
            ('instances', boxes),
            ('captions', captions),
        ):
            content = {'images': images, 'annotations': annotations}
            if kind == 'instances':
                content['categories'] = categories
            path = root / 'annotations' / f'{kind}_{split}.json'
            path.write_text(json.dumps(content))


@pytest.fixture(scope='session')
def made_coco(tmp_path_factory, run_tool) -> Path:
    """Folder of a few made pictures in COCO's layout, with linked phrases."""
    root = tmp_path_factory.mktemp('made_coco')
    write_coco(root)
    annotations = root / 'annotations'
    run_tool(
        'dataset_converters/to_odvg.py', 'coco-captions',
        annotations / 'instances_train2017.json',
        '--captions', annotations / 'captions_train2017.json',
        '--out', annotations / 'phrases_train2017.jsonl',
    )  # fmt: skip
    return root


@pytest.fixture(scope='session')
def panoptic_photos(coco_photos, tmp_path_factory) -> Path:
    """Panoptic annotations of the photos of val2017 in COCO's layout.

    Things are the real instances, each on top of those before it, with their
    annotated boxes; what is left is stuff, made up: sky above, grass below.
    Ids of segments fill all three channels of the maps. Also in the folder:
    the photos, ``instances_val2017.json`` and the same boxes in LVIS's form.
    """
    root = tmp_path_factory.mktemp('panoptic_photos')
    (root / 'val2017').symlink_to(coco_photos / 'val2017')
    annotations = root / 'annotations'
    maps = annotations / 'panoptic_val2017'
    maps.mkdir(parents=True)
    source = coco_photos / 'annotations' / 'instances_val2017.json'
    (annotations / source.name).write_text(source.read_text())
    coco = COCO(str(source))
    meta = CocoPanopticDataset.METAINFO
    thing_ids = coco.getCatIds()
    categories = [
        {'id': number, 'name': name, 'isthing': int(number < 1000)}
        for number, name in zip(
            [*thing_ids, *range(1000, 1053)], meta['classes']
        )
    ]
    stuff = {each['name']: each['id'] for each in categories}
    entries = []
    for image in coco.loadImgs(coco.getImgIds()):
        height, width = image['height'], image['width']
        segments = np.zeros((height, width), dtype=np.int64)
        segments[: height // 2] = 1
        segments[height // 2 :] = 70_000
        infos = {
            1: {'category_id': stuff['sky-other-merged'], 'iscrowd': 0},
            70_000: {'category_id': stuff['grass-merged'], 'iscrowd': 0},
        }
        for number, instance in enumerate(
            coco.loadAnns(coco.getAnnIds(image['id'])), 2
        ):
            segments[coco.annToMask(instance) > 0] = number * 70_001
            infos[number * 70_001] = {
                key: instance[key] for key in ('category_id', 'iscrowd')
            }
            infos[number * 70_001]['bbox'] = instance['bbox']
        for number, info in list(infos.items()):
            rows, columns = np.nonzero(segments == number)
            if not len(rows):
                del infos[number]
                continue
            left, top = int(columns.min()), int(rows.min())
            info.setdefault(
                'bbox',
                [
                    left,
                    top,
                    int(columns.max()) + 1 - left,
                    int(rows.max()) + 1 - top,
                ],
            )
            info.update(id=number, area=len(rows))
        channels = [segments >> shift & 255 for shift in (0, 8, 16)]
        name = Path(image['file_name']).with_suffix('.png').name
        Image.fromarray(np.stack(channels, -1).astype(np.uint8)).save(
            maps / name
        )
        entries.append(
            {
                'image_id': image['id'],
                'file_name': name,
                'segments_info': list(infos.values()),
            }
        )
    content = {
        'images': coco.dataset['images'],
        'categories': categories,
        'annotations': entries,
    }
    (annotations / 'panoptic_val2017.json').write_text(json.dumps(content))
    (annotations / 'lvis_v1_val.json').write_text(json.dumps(as_lvis(coco)))
    return root


def as_lvis(coco: COCO) -> dict:
    """COCO's boxes as LVIS: the first 80 of its 1203 classes stand in."""
    vocabulary = load_vocabulary('lvis1203')
    group = {
        name: group[0]
        for group, names in vocabulary.groups.items()
        for name in names
    }
    place = {number: i for i, number in enumerate(coco.getCatIds(), 1)}
    images = [
        {
            **image,
            'coco_url': 'http://images.cocodataset.org/val2017/'
            + image['file_name'],
            'neg_category_ids': [],
            'not_exhaustive_category_ids': [],
        }
        for image in coco.dataset['images']
    ]
    annotations = [
        {**each, 'category_id': place[each['category_id']]}
        for each in coco.dataset['annotations']
        if not each['iscrowd']
    ]
    categories = [
        {'id': number, 'name': name, 'frequency': group[name]}
        for number, name in enumerate(vocabulary.classes, 1)
    ]
    return {
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }


@pytest.fixture(scope='session')
def tiny_detector(tmp_path_factory) -> Path:
    """Checkpoint of ``configs/ov_detection/fvit_tiny_1xb8-600i_photos.py`` as
    initialised, with a CLIP of random weights and the names of a training."""
    config = Config.fromfile(
        REPOSITORY / 'configs/ov_detection/fvit_tiny_1xb8-600i_photos.py'
    )
    config.model.init_cfg = None
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    model._remember(config.base_classes)
    path = tmp_path_factory.mktemp('detector') / 'detector.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path
