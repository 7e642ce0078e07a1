"""What a run would stumble over is told before it begins."""

import json
import tarfile

import pytest

from harmoclip_mm.apis import load_config
from harmoclip_mm.engine import check_data
from harmoclip_mm.errors import UsageError

BOX = [4, 4, 24, 24]
CONFIG = """
default_scope = 'harmoclip_mm'
load = [dict(type='LoadCheckedImage'),
        dict(type='mmdet.LoadAnnotations', with_bbox=True)]
train_dataloader = dict(
    batch_size=4, drop_last=True, dataset=dict(
        type='RegionPhraseDataset', data_root={root!r}, pipeline=load,
        ann_file='odvg.jsonl', data_prefix=dict(img='images/')))
val_dataloader = dict(batch_size=4, dataset=dict(
    type='mmdet.CocoDataset', data_root={root!r}, ann_file='boxes.json',
    data_prefix=dict(img='images/'), test_mode=True, return_classes=True,
    metainfo=dict(classes=('dog', 'car')), pipeline=load))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2)
param_scheduler = [dict(type='LinearLR', by_epoch=False, start_factor=0.1,
                        begin=0, end=5)]
"""


@pytest.fixture
def project(tiny_data):
    """Twelve lines, two test images, and what changes them."""

    class Project:
        config = tiny_data.root / 'config.py'
        names = [f'{i}.png' for i in range(12)]
        lines = [
            tiny_data.grounding(
                name, f'a dog and {i}', dict(bbox=BOX, phrase=str(i))
            )
            for i, name in enumerate(names)
        ]
        boxes = {
            'images': [
                dict(id=i, file_name=f'{i}.png', width=64, height=48)
                for i in (1, 2)
            ],
            'categories': [dict(id=3, name='dog'), dict(id=7, name='car')],
            'annotations': [
                dict(id=i, image_id=i, category_id=c, bbox=BOX, area=576)
                for i, c in ((1, 3), (2, 7))
            ],
        }

        def check(self, options=None):
            self.config.write_text(CONFIG.format(root=str(tiny_data.root)))
            tiny_data.jsonl(*self.lines)
            path = tiny_data.root / 'boxes.json'
            path.write_text(json.dumps(self.boxes))
            findings = check_data(load_config(str(self.config), options))
            return {
                level: [each.text for each in findings if each.level == level]
                for level in ('error', 'warning', 'ok')
            }

    for name in Project.names:
        tiny_data.image(name)
    return Project()


def test_good_data(project, run_tool, capsys):
    found = project.check()
    assert not found['error'] and not found['warning']
    assert '6 steps, 3 an epoch, on one GPU' in found['ok']
    said = 'odvg.jsonl: 12 boxes, one for each phrase of a box'
    assert said in found['ok']
    assert 'boxes.json: 2 boxes' in found['ok']
    with pytest.raises(SystemExit) as end:
        run_tool('check_dataset.py', project.config)
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert '12 samples' in printed and '0 errors, 0 warnings' in printed
    assert 'loading annotations' not in printed


def test_what_boxes_are_counted(project):
    """Several lines of an image, and crowds."""
    project.lines.append(dict(project.lines[0]))
    crowd = dict(project.boxes['annotations'][0], id=9, iscrowd=1)
    project.boxes['annotations'].append(crowd)
    found = project.check()['ok']
    assert 'boxes.json: 3 boxes, 1 of them crowds' in found
    assert any('12 boxes' in x and 'at random' in x for x in found)


def test_no_data(project, tiny_data):
    project.boxes['annotations'] = []
    options = {
        'val_dataloader.dataset.test_mode': False,
        'val_dataloader.dataset.filter_cfg': dict(filter_empty_gt=True),
    }
    (told,) = project.check(options)['error']
    assert 'boxes.json has no sample' in told
    (tiny_data.root / 'empty.py').touch()
    with pytest.raises(UsageError, match='has no dataloader'):
        check_data(load_config(str(tiny_data.root / 'empty.py')))


def test_the_schedule(project):
    found = project.check({'train_dataloader.batch_size': 6})
    assert (
        'warm-up of 5 steps outlasts the training of 4'
        in (found['warning'][0])
    )
    found = project.check({'train_dataloader.batch_size': 13})
    assert 'a batch of 13 is more than the 12 samples' in found['error'][0]


def test_images_and_boxes(project, tiny_data, run_tool):
    (tiny_data.root / 'images' / '2.png').unlink()
    project.lines[3]['grounding']['regions'].append(
        dict(bbox=[100, 0, 120, 9], phrase='dog')
    )
    project.boxes['annotations'].append(
        dict(id=3, image_id=1, category_id=3, bbox=[1, 1, 0.5, 9], area=4)
    )
    found = project.check()
    assert any(
        '1 of 12 images are missing, the first is' in text and '2.png' in text
        for text in found['warning']
    )
    assert any('1 boxes are dropped' in text for text in found['warning'])
    assert any('drops 1 of 3 boxes' in text for text in found['warning'])
    assert '1 of 2 images are missing' in found['error'][0]
    with pytest.raises(SystemExit) as end:
        run_tool('check_dataset.py', project.config)
    assert end.value.code == 1


def test_images_in_tars_are_there(project, tiny_data):
    images = tiny_data.root / 'images'
    with tarfile.open(images / '0.tar', 'w') as tar:
        for name in project.names[1:]:
            tar.add(images / name, name)
    prefix = dict(img='images/{0..0}.tar')
    options = {'train_dataloader.dataset.data_prefix': prefix}
    found = project.check(options)
    (missing,) = [each for each in found['warning'] if 'missing' in each]
    assert '1 of 12 images are missing, the first is' in missing
    assert '.tar/0.png' in missing


def test_suspicious_links(project):
    for line in project.lines[:10]:
        line['grounding']['regions'][0]['phrase'] = 'cat'
    for line in project.lines[10:]:
        line['grounding']['regions'] = []
    found = project.check()['warning']
    assert any('100 % of the regions are not linked' in x for x in found)
    assert any(
        '100 % of the regions have the phrase "cat"' in x for x in found
    )
    for line in project.lines[4:]:
        line['grounding']['regions'] = []
    found = project.check()['warning']
    assert any('67 % of the samples have no box' in x for x in found)


def test_classes(project):
    project.boxes['annotations'][1]['category_id'] = 3
    assert (
        '1 of 2 classes have no box, such as "car"'
        in (project.check()['warning'][0])
    )
    project.boxes['categories'][1]['name'] = 'Dog'
    options = {'val_dataloader.dataset.metainfo.classes': ('dog', 'Dog')}
    options['test_dataloader'] = None
    found = project.check(options)['error']
    assert "classes 'dog' and 'Dog' have one prompt" in found[0]
    project.boxes['annotations'][0]['bbox'] = None
    found = project.check()['error']
    assert any("'bbox' must be four numbers" in text for text in found)
