"""The commands of the inferencers, on photos with a tiny CLIP."""

import json
import shutil

import pytest
from tiny_clips import VIT, shake

from harmoclip_mm import export_clip
from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.registry import MODELS

DEMO = '../demo/clip_demo.py'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp('clip') / 'tiny'
    model = MODELS.build(dict(type='harmoclip_mm.HarmoCLIP', clip=VIT))
    export_clip(shake(model), str(folder))
    return str(folder)


@pytest.fixture(scope='module')
def photos(coco_photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    for path in sorted((coco_photos / 'val2017').glob('*.jpg'))[:3]:
        shutil.copy(path, folder)
    return folder


def test_boxes_of_a_photo(checkpoint, photos, run_tool, tmp_path):
    photo = min(photos.iterdir())
    run_tool(
        DEMO, 'classify-boxes', checkpoint, photo,
        '--boxes', '10,20,200,180;0,0,50,60', '--texts', 'dog', 'red car',
        '--out-dir', tmp_path, '--device', 'cpu', '--img-size', 64,
    )  # fmt: skip
    found = json.loads((tmp_path / 'preds' / f'{photo.stem}.json').read_text())
    assert found['bboxes'] == [[10, 20, 200, 180], [0, 0, 50, 60]]
    assert (tmp_path / 'vis' / photo.name).is_file()


@pytest.mark.parametrize(
    'words', [('--texts', 'bus'), ('--vocabulary', 'coco80')]
)
def test_one_word_and_a_vocabulary(
    checkpoint, photos, run_tool, tmp_path, words
):
    photo = min(photos.iterdir())
    run_tool(
        DEMO, 'classify-boxes', checkpoint, photo, '--boxes', '1', *words,
        '--out-dir', tmp_path, '--device', 'cpu',
    )  # fmt: skip
    found = json.loads((tmp_path / 'preds' / f'{photo.stem}.json').read_text())
    (scores,) = found['text_scores']
    assert len(scores) == (1 if 'bus' in words else 80)


def test_texts_of_a_folder(checkpoint, photos, run_tool, tmp_path):
    run_tool(
        DEMO, 'compare-texts', checkpoint, photos, '--texts', 'a dog', 'a car',
        '--out-dir', tmp_path, '--device', 'cpu',
    )  # fmt: skip
    assert len(list((tmp_path / 'preds').iterdir())) == 3


def test_an_index_and_a_search(checkpoint, photos, run_tool, tmp_path, capsys):
    index = tmp_path / 'photos.index'
    run_tool(
        DEMO, 'index-regions', checkpoint, photos, index, '--device', 'cpu'
    )
    assert '42 regions' in capsys.readouterr().out
    run_tool(
        DEMO, 'find-regions', checkpoint, index, '--texts', 'a dog',
        '--topk', 4, '--out-dir', tmp_path / 'out', '--device', 'cpu',
    )  # fmt: skip
    said = capsys.readouterr().out
    ((found),) = json.loads((tmp_path / 'out/predictions.json').read_text())
    assert len(found['regions']) == 4
    assert all(each['img_path'] in said for each in found['regions'])


@pytest.mark.parametrize(
    'boxes, words, error',
    [
        ('1,2,3', 'not "x1,y1,x2,y2"', UsageError),
        ('absent.json', r'absent\.json: no such file', UsageError),
        ('1,2,3,4', 'of one image, not a folder', UsageError),
        ('0', 'a grid of 0', DataError),
    ],
)
def test_wrong_boxes(checkpoint, photos, run_tool, boxes, words, error):
    with pytest.raises(error, match=words):
        run_tool(
            DEMO, 'classify-boxes', checkpoint, photos, '--boxes', boxes,
            '--texts', 'dog', 'cat', '--device', 'cpu',
        )  # fmt: skip


def test_a_missing_vocabulary(checkpoint, photos, run_tool):
    with pytest.raises(DataError, match='neither a file'):
        run_tool(
            DEMO, 'classify-boxes', checkpoint, photos, '--boxes', '1',
            '--vocabulary', 'absent', '--device', 'cpu',
        )  # fmt: skip


def test_a_missing_picture(run_tool):
    with pytest.raises(UsageError, match=r'absent\.jpg does not exist'):
        run_tool(
            DEMO, 'compare-texts', 'x.pt', 'absent.jpg', '--texts', 'a dog'
        )
