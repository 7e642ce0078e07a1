"""Photos are drawn as they were scored, and none is overwritten."""

import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.structures import DetDataSample
from mmengine.dataset import BaseDataset
from mmengine.structures import InstanceData
from PIL import Image
from torch.distributed import init_process_group

from harmoclip_mm.datasets.transforms import LoadCheckedImage
from harmoclip_mm.engine import DrawPredictionsHook, close_launcher
from harmoclip_mm.visualization import RegionTextVisualizer

RED = (220, 60, 10)
TURNED = 6  # EXIF: the camera was held upright


@pytest.fixture
def photo(tmp_path):
    """40 x 20 px as stored, left half red; turned by its EXIF data."""
    path = tmp_path / 'photos' / 'a.jpg'
    path.parent.mkdir()
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = RED
    exif = Image.Exif()
    exif[0x0112] = TURNED
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    return path


class Photos(BaseDataset):
    """One sample for each path."""

    def load_data_list(self):
        return [dict(img_path=str(path)) for path in self.metainfo['paths']]


def draw(paths, loader, out, ranks=(0, 1), boxes=0, truth=None):
    """Draw those of this process, with so many boxes; or with a true one."""
    meta = dict(paths=paths, classes=('thing',))
    dataset = Photos(metainfo=meta, pipeline=[loader])
    rank, world_size = ranks
    runner = SimpleNamespace(
        visualizer=RegionTextVisualizer(shorter_side=0),
        test_dataloader=SimpleNamespace(
            dataset=SimpleNamespace(dataset=dataset, metainfo=dataset.metainfo)
        ),
    )
    # as mmengine's loop, of which the first process alone takes it
    runner.visualizer.dataset_meta = dataset.metainfo
    hook = DrawPredictionsHook(str(out))
    hook.before_test(runner)
    for path in paths[rank::world_size]:
        sample = DetDataSample(metainfo=dict(img_path=str(path)))
        if truth is not None:
            sample.gt_instances = InstanceData(
                bboxes=torch.tensor([truth]), labels=torch.tensor([0])
            )
        else:
            sample.pred_instances = InstanceData(
                bboxes=torch.zeros(boxes, 4),
                labels=torch.zeros(boxes, dtype=int),
                scores=torch.ones(boxes),
            )
        hook.after_test_iter(runner, 0, None, [sample])
    return {path.name: cv2.imread(str(path)) for path in out.iterdir()}


def test_photos_are_drawn_as_they_are_loaded(photo, tmp_path):
    (stored,) = draw([photo], LoadCheckedImage(), tmp_path / 'a').values()
    assert stored.shape[:2] == (20, 40)
    assert stored[10, 5, ::-1] == pytest.approx(RED, abs=12)  # B, G, R
    assert stored[10, 35].mean() < 5
    (turned,) = draw([photo], LoadImageFromFile(), tmp_path / 'b').values()
    assert turned.shape[:2] == (40, 20)
    assert turned[5, 10, ::-1] == pytest.approx(RED, abs=12)


def test_boxes_of_the_network_input_are_not_drawn(photo, tmp_path):
    """A test of retrieval alone predicts no boxes of the photo."""
    arguments = ([photo], LoadCheckedImage(), tmp_path / 'out')
    (drawn,) = draw(*arguments, truth=[20.0, 5.0, 39.0, 19.0]).values()
    assert drawn[:, 25:].max() < 20


def test_images_that_opencv_cannot_read_or_write(photo, tmp_path):
    """A float TIFF that Pillow alone reads; names of no suffix, of JFIF, and
    of a format without colour."""
    numbers = np.zeros((20, 40), np.float32)
    numbers[:, 20:] = 200
    Image.fromarray(numbers).save(photo.with_name('f.tif'))
    paths = [photo.with_name('f.tif')]
    for name in ('b.jfif', 'b', 'b.pgm'):
        paths.append(photo.with_name(name))
        shutil.copy(photo, paths[-1])
    drawn = draw(paths, LoadCheckedImage(), tmp_path / 'out')
    assert set(drawn) == {'f.tif', 'b.jfif.jpg', 'b.jpg', 'b.pgm.jpg'}
    assert {each.shape for each in drawn.values()} == {(20, 40, 3)}
    assert drawn['f.tif'][10, 35] == pytest.approx(200, abs=2)


def test_equal_names_are_kept_apart(photo, tmp_path):
    other = photo.with_name('b.jpg')
    shutil.copy(photo, other)
    paths = [photo, other, photo, photo]
    drawn = draw(paths, LoadCheckedImage(), tmp_path / 'out')
    assert set(drawn) == {'a_1.jpg', 'a_2.jpg', 'a_3.jpg', 'b.jpg'}


def draw_some(rank, file, paths, out, boxes):
    init_process_group('gloo', file, rank=rank, world_size=2)
    draw(paths, LoadCheckedImage(), out, (rank, 2), boxes)
    close_launcher()


def test_every_process_draws_its_own(photo, run_ranks, tmp_path):
    """Shades tell which photo is where."""
    paths, out = [], tmp_path / 'out'
    for number in range(4):
        path = tmp_path / f'{number}' / ('b.png' if number == 2 else 'a.png')
        path.parent.mkdir()
        cv2.imwrite(str(path), np.full((9, 9, 3), 60 * number, np.uint8))
        paths.append(path)
    out.mkdir()
    run_ranks(draw_some, 2, paths, out, 0)
    shades = {x.name: cv2.imread(str(x)).max() for x in out.iterdir()}
    # 0 and 2 are of the first process, 1 and 3 of the other
    assert shades == {
        'a_1.png': 0,
        'b.png': 120,
        'a_2.png': 60,
        'a_4.png': 180,
    }


def test_every_process_knows_the_classes(run_ranks, tmp_path):
    """Equal photos, of one process each, have equal tags."""
    paths, out = [tmp_path / 'a.png', tmp_path / 'b.png'], tmp_path / 'out'
    for path in paths:
        cv2.imwrite(str(path), np.zeros((60, 90, 3), np.uint8))
    out.mkdir()
    run_ranks(draw_some, 2, paths, out, 1)
    first, second = (cv2.imread(str(out / path.name)) for path in paths)
    assert first.any() and np.array_equal(first, second)
