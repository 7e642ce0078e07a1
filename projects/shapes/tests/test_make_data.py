"""``make_data.py``, run as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from PIL import Image

from harmoclip_mm.text import load_vocabulary
from shapes.scenes import VOCABULARY

PROJECT = Path(__file__).resolve().parents[1]
TOOL = 'make_data'


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    out_dir = tmp_path_factory.mktemp('shapes')
    run = subprocess.run(
        [
            sys.executable,
            str(PROJECT / 'make_data.py'),
            str(out_dir),
            *('--train', '400', '--val', '60', '--test', '150'),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(PROJECT.parents[1])},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert 'train: 400 images' in run.stdout
    return out_dir


def odvg(root, split):
    path = root / 'annotations' / f'{split}_odvg.jsonl'
    return [json.loads(line) for line in path.read_text().splitlines()]


def coco(root, name):
    return json.loads((root / 'annotations' / f'{name}.json').read_text())


def test_files_agree_with_each_other(shapes):
    classes = load_vocabulary(VOCABULARY).classes
    listed = (shapes / 'annotations/classes.txt').read_text().splitlines()
    assert listed == list(classes)
    for group, names in load_vocabulary(VOCABULARY).groups.items():
        path = shapes / f'annotations/{group}_classes.txt'
        assert path.read_text().split('\n')[:-1] == list(names)
    for split, count in (('train', 400), ('val', 60), ('test', 150)):
        lines = odvg(shapes, split)
        instances = coco(shapes, f'instances_{split}')
        assert len(lines) == len(instances['images']) == count
        assert [c['name'] for c in instances['categories']] == list(classes)
        assert [c['id'] for c in instances['categories']] == list(range(1, 81))
        boxes = {}
        for ann in instances['annotations']:
            boxes.setdefault(ann['image_id'], []).append(ann)
        for line, image in zip(lines, instances['images']):
            assert line['filename'] == image['file_name']
            with Image.open(shapes / split / line['filename']) as picture:
                assert picture.size == (line['width'], line['height'])
            regions = line['grounding']['regions']
            assert len(regions) == len(boxes[image['id']])
            for region, ann in zip(regions, boxes[image['id']]):
                x, y, w, h = ann['bbox']
                assert region['bbox'] == [x, y, x + w, y + h]
                name = classes[ann['category_id'] - 1]
                assert region['phrase'].endswith(name)
                ((start, end),) = region['tokens_positive']
                caption = line['grounding']['caption']
                assert caption[start:end] == region['phrase']


def test_novel_combinations_are_absent_in_training_only(shapes):
    vocabulary = load_vocabulary(VOCABULARY)
    novel = set(vocabulary.groups['novel'])
    assert len(novel) == 12

    def seen(split):
        instances = coco(shapes, f'instances_{split}')
        names = {c['id']: c['name'] for c in instances['categories']}
        return [names[a['category_id']] for a in instances['annotations']]

    assert set(seen('train')) == set(vocabulary.groups['base'])
    captions = [x['grounding']['caption'] for x in odvg(shapes, 'train')]
    assert not [c for c in captions for name in novel if name in c]
    test = seen('test')
    assert novel <= set(test)
    share = sum(name in novel for name in test) / len(test)
    # 12 of 80 = 0.15; the standard error with ~500 boxes is 0.016.
    assert 0.09 < share < 0.21


def test_captions_nearly_identify_their_image(shapes):
    captions = coco(shapes, 'captions_test')
    texts = [a['caption'] for a in captions['annotations']]
    assert len(texts) == 150 and len(set(texts)) == 150
    assert not (shapes / 'annotations' / 'captions_train.json').exists()


def test_mmdet_reads_the_instances(shapes):
    dataset = CocoDataset(
        ann_file='annotations/instances_val.json',
        data_root=str(shapes),
        data_prefix={'img': 'val/'},
        metainfo={'classes': load_vocabulary(VOCABULARY).classes},
        test_mode=True,
    )
    assert len(dataset) == 60
    assert len(dataset.get_data_info(0)['instances']) >= 2


def test_files_depend_on_the_seed_alone(tmp_path, run_tool):
    sizes = ('--train', '20', '--val', '3', '--test', '3', '--size', '48')
    runs = {
        'one': ('--workers', '1'),
        'two': ('--workers', '2'),
        'other': ('--workers', '2', '--seed', '1'),
    }
    files = {}
    for name, args in runs.items():
        run_tool(TOOL, tmp_path / name, *sizes, *args)
        root = tmp_path / name
        files[name] = {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob('*'))
            if path.is_file()
        }
    # 26 images, three ODVG, three COCO and two caption files
    names = {path for path in files['one'] if not path.endswith('classes.txt')}
    assert len(names) == 26 + 8
    assert len(files['one']) == len(names) + 3
    assert files['one'] == files['two']
    assert files['one'].keys() == files['other'].keys()
    assert all(files['one'][k] != files['other'][k] for k in names)


def test_fewer_and_larger_objects(tmp_path, run_tool):
    run_tool(
        TOOL, tmp_path, *('--train', '40', '--val', '0', '--test', '0'),
        *('--size', '48', '--objects', '1', '2', '--scale', '1.5'),
        *('--details', '0', '--textures', 'plain'),
    )  # fmt: skip
    lines = odvg(tmp_path, 'train')
    regions = [line['grounding']['regions'] for line in lines]
    assert {len(each) for each in regions} == {1, 2}
    boxes = np.array([r['bbox'] for each in regions for r in each])
    phrases = [r['phrase'] for each in regions for r in each]
    assert {len(phrase.split()) for phrase in phrases} == {2}
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    assert sides.min() >= 0.33 * 48 - 1 and sides.max() > 0.55 * 48


def test_splits_do_not_repeat_each_other(shapes):
    first = [
        np.asarray(Image.open(shapes / split / '000000.jpg'))
        for split in ('train', 'val', 'test')
    ]
    assert not np.array_equal(first[1], first[2])
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (('--size', '8'), 'at least 32 px'),
        (('--train', '-1'), 'must not be negative'),
        (('--workers', '0'), 'at least 1'),
        (('--objects', '3', '2'), 'numbers of 1 to 5'),
        (('--details', '2'), 'must be in'),
        (('--scale', '1.5'), '0.5 to 1, or to 1.6'),
    ],
)
def test_senseless_options_are_refused(
    tmp_path, run_tool, capsys, option, message
):
    with pytest.raises(SystemExit):
        run_tool(TOOL, tmp_path, *option)
    assert message in capsys.readouterr().err
