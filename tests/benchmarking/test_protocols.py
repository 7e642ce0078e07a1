"""The list of protocols is that of the configs."""

from pathlib import Path

import pytest

from harmoclip_mm.benchmarking import choose_protocols
from harmoclip_mm.errors import UsageError

FOLDER = Path(__file__).resolve().parents[2] / 'configs/evaluation'


def test_every_config_is_a_protocol():
    """But those of a detector's proposals."""
    names = {path.stem for path in FOLDER.glob('*.py')}
    full = choose_protocols('full')
    assert {each.name for each in full} == {
        name for name in names if not name.endswith('_proposals')
    }
    quick = choose_protocols('quick')
    assert {each.kind for each in quick} == {'local', 'global'}
    assert 2 < len(quick) < len(full) / 2
    assert len({each.task for each in full}) == len(full)
    for each in full:
        assert set(each.score) <= set(each.figures)


def test_what_a_protocol_reads(tmp_path, monkeypatch):
    roots = dict(COCO_ROOT='coco', LVIS_ROOT='lvis', IMAGENET_ROOT='inet')
    for key, name in roots.items():
        monkeypatch.setenv(key, str(tmp_path / name))
    for key in ('FGOVD_FILES', 'REFEXP_FILE', 'REFEXP_BOXES'):
        monkeypatch.delenv(key, raising=False)
    names = {
        'box-cls_fgclip_coco': [
            'coco/annotations/instances_val2017.json',
            'coco/val2017',
        ],
        'box-cls_clipself_coco-panoptic': [
            'coco/annotations/panoptic_val2017',
            'coco/annotations/panoptic_val2017.json',
            'coco/val2017',
        ],
        'box-cls_lvis': ['coco/*2017', 'lvis/annotations/lvis_v1_val.json'],
        'fgovd': ['coco/*2017', 'coco/fgovd'],
        'ref-exp_refcoco': [
            'coco/annotations/instances_train2014.json',
            'coco/mdetr_annotations/final_refexp_val.json',
            'coco/train2014',
        ],
        'zero-shot_imagenet': ['inet/val'],
    }
    for each in choose_protocols(list(names)):
        found = sorted(
            str(Path(path).relative_to(tmp_path)) for path in each.missing()
        )
        assert found == names[each.name]
        assert all(key in each.data for key in roots if key in each.data)


def test_settings_are_of_the_protocol_and_of_no_place(tmp_path, monkeypatch):
    """Copies that ask something else are others, those elsewhere are not."""

    def settings(root):
        for key in ('COCO', 'LVIS', 'IMAGENET', 'FLICKR30K', 'DCI', 'DOCCI'):
            monkeypatch.setenv(f'{key}_ROOT', str(root))
        return {each.name: each.settings for each in choose_protocols('full')}

    found = settings(tmp_path / 'a')
    assert settings(tmp_path / 'b') == found
    assert not any(str(tmp_path) in text for text in found.values())
    name, change = 'box-cls_fgclip_coco', "templates='simple'"
    config = tmp_path / 'own.py'
    config.write_text(
        f'_base_ = {str(FOLDER / f"{name}.py")!r}\n'
        'model = dict(predictors=dict(boxes=dict(classifier=dict('
        f'{change}))))\n'
    )
    (own,) = choose_protocols([str(config)])
    assert own.settings not in found.values()
    for other in (tmp_path / f'{name}.py', tmp_path / 'folder/own.py'):
        other.parent.mkdir(exist_ok=True)
        other.write_text(config.read_text())
        with pytest.raises(UsageError, match='name the file differently'):
            choose_protocols([str(config), str(other)])


def test_a_folder_without_its_files_is_missing(tmp_path, monkeypatch):
    coco, dci = tmp_path / 'co[c]o', tmp_path / 'dci'
    monkeypatch.setenv('COCO_ROOT', str(coco))
    monkeypatch.setenv('DCI_ROOT', str(dci))
    monkeypatch.delenv('FGOVD_FILES', raising=False)
    for folder in ('val2017', 'fgovd', 'annotations/panoptic_val2017'):
        (coco / folder).mkdir(parents=True)
    (coco / 'annotations/panoptic_val2017.json').touch()
    (coco / 'fgovd/1_attributes_llava.jsonl').touch()
    (coco / 'fgovd/shuffle_negatives.json').touch()
    for folder in ('photos', 'annotations'):
        (dci / folder).mkdir(parents=True)
    (dci / 'photos/a.jpg').touch()
    names = 'fgovd', 'box-cls_clipself_coco-panoptic', 'retrieval_dci'
    fgovd, panoptic, captions = choose_protocols(list(names))
    assert [Path(path).name for path in fgovd.missing()] == [
        *('2_attributes*.json*', '3_attributes*.json*', '*2017'),
    ]
    assert [Path(path).name for path in panoptic.missing()] == [
        *('val2017', 'panoptic_val2017'),
    ]
    assert [Path(path).name for path in captions.missing()] == ['*.json']
    for name in ('2_attributes.json', '3_attributes.json'):
        (coco / 'fgovd' / name).touch()
    (coco / 'val2017/a.jpg').touch()
    (dci / 'annotations/a.json').touch()
    assert fgovd.missing() == captions.missing() == []
