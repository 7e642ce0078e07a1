"""Photos are drawn as they were scored, and none is overwritten."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.structures import DetDataSample
from mmengine.dataset import Compose
from mmengine.structures import InstanceData
from PIL import Image

from harmoclip_mm.datasets.transforms import LoadCheckedImage
from harmoclip_mm.engine import DrawPredictionsHook
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


def draw(photo, loader, out, times=1):
    sample = DetDataSample(metainfo=dict(img_path=str(photo)))
    sample.pred_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0), scores=torch.zeros(0)
    )
    dataset = SimpleNamespace(pipeline=Compose([loader]))
    runner = SimpleNamespace(
        visualizer=RegionTextVisualizer(shorter_side=0),
        test_dataloader=SimpleNamespace(
            dataset=SimpleNamespace(dataset=dataset)
        ),
    )
    hook = DrawPredictionsHook(str(out))
    for _ in range(times):
        hook.after_test_iter(runner, 0, None, [sample])
    return {path.name: cv2.imread(str(path)) for path in out.iterdir()}


def test_photos_are_drawn_as_they_are_loaded(photo, tmp_path):
    (stored,) = draw(photo, LoadCheckedImage(), tmp_path / 'a').values()
    assert stored.shape[:2] == (20, 40)
    assert stored[10, 5, ::-1] == pytest.approx(RED, abs=12)  # B, G, R
    assert stored[10, 35].mean() < 5
    (turned,) = draw(photo, LoadImageFromFile(), tmp_path / 'b').values()
    assert turned.shape[:2] == (40, 20)
    assert turned[5, 10, ::-1] == pytest.approx(RED, abs=12)


def test_equal_names_are_kept_apart(photo, tmp_path):
    drawn = draw(photo, LoadCheckedImage(), tmp_path / 'out', times=3)
    assert set(drawn) == {'a.jpg', 'a_2.jpg', 'a_3.jpg'}
