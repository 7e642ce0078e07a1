"""Tests of the vocabularies against mmdet, and of their error messages."""

import hashlib
import json

import pytest

from harmoclip_mm.errors import DataError
from harmoclip_mm.text import (
    Vocabulary,
    class_to_prompt,
    find_groups,
    list_vocabularies,
    load_vocabulary,
)


def test_list_vocabularies():
    assert list_vocabularies() == (
        'coco80',
        'coco_panoptic133',
        'imagenet1000',
        'lvis1203',
    )


def test_coco80_equals_mmdet():
    datasets = pytest.importorskip('mmdet.datasets')
    vocabulary = load_vocabulary('coco80')
    assert vocabulary.classes == datasets.CocoDataset.METAINFO['classes']
    assert vocabulary.prompts == vocabulary.classes


def test_coco80_groups_are_the_ov_coco_split():
    vocabulary = load_vocabulary('coco80')
    base, novel = vocabulary.groups['base'], vocabulary.groups['novel']
    assert (len(base), len(novel)) == (48, 17)
    assert not set(base) & set(novel)
    # The 17 of Bansal et al. 2018 as mmdet's coco2ovd.py lists them.
    names = (
        'airplane bus cat dog cow elephant umbrella tie snowboard skateboard '
        'cup knife cake couch keyboard sink scissors'
    )
    assert set(novel) == set(names.split(' '))


def test_coco_panoptic133_equals_mmdet():
    datasets = pytest.importorskip('mmdet.datasets')
    metainfo = datasets.CocoPanopticDataset.METAINFO
    vocabulary = load_vocabulary('coco_panoptic133')
    assert vocabulary.classes == metainfo['classes']
    assert vocabulary.groups == {
        'thing': metainfo['thing_classes'],
        'stuff': metainfo['stuff_classes'],
    }


def test_coco_panoptic133_prompts():
    vocabulary = load_vocabulary('coco_panoptic133')
    prompts = dict(zip(vocabulary.classes, vocabulary.prompts))
    assert prompts['sky-other-merged'] == 'sky'
    assert prompts['wall-brick'] == 'brick wall'
    assert prompts['dog'] == 'dog'
    assert not any('-' in prompt for prompt in vocabulary.prompts)


def test_lvis1203_equals_mmdet():
    datasets = pytest.importorskip('mmdet.datasets')
    vocabulary = load_vocabulary('lvis1203')
    assert vocabulary.classes == datasets.LVISV1Dataset.METAINFO['classes']
    sizes = {name: len(group) for name, group in vocabulary.groups.items()}
    # LVIS v1: 337 rare, 461 common, 405 frequent, every class in one.
    assert sizes == {'rare': 337, 'common': 461, 'frequent': 405}
    members = sum(vocabulary.groups.values(), ())
    assert sorted(members) == sorted(vocabulary.classes)
    assert 'bow (weapon)' in vocabulary.prompts
    assert 'band aid' in vocabulary.prompts


def test_class_to_prompt():
    assert class_to_prompt('Band_Aid') == 'band aid'
    assert class_to_prompt('Pen/Pencil') == 'pen or pencil'
    assert class_to_prompt('bow_(weapon)') == 'bow (weapon)'


def test_from_list_and_pass_through():
    vocabulary = load_vocabulary(['Cat_x', 'dog'])
    assert vocabulary.prompts == ('cat x', 'dog')
    assert len(vocabulary) == 2
    assert load_vocabulary(vocabulary) is vocabulary


def test_a_group_of_one_class_is_a_list():
    """Without its comma it is a text, whose parts would be classes."""
    meta = {'classes': ('dog', 'hot dog'), 'novel_classes': 'hot dog'}
    with pytest.raises(DataError, match=r"'novel'.*\['hot dog'\]"):
        find_groups(meta)
    with pytest.raises(DataError, match="'pet'"):
        find_groups(meta, {'pet': 'hot dog'})


def test_groups_are_looked_up_by_the_classes(tmp_path):
    meta = {'classes': ['cat', 'dog', 'bus']}
    assert find_groups(meta) == {}
    assert find_groups({'classes': load_vocabulary('lvis1203').classes})[
        'rare'
    ][:2] == (12, 13)
    # labels are those of the data set; what it does not have is left out
    novel = {'novel': (0, 1, 2)}
    assert find_groups(meta, 'coco80') == novel
    own = {'pet': ['dog', 'cat'], 'fish': ['cod']}
    assert find_groups(meta, own) == {'pet': (0, 1)}
    meta.update(base_classes=('bus',), novel_classes=())
    assert find_groups(meta) == {'base': (2,)}
    with pytest.raises(DataError, match='coco81'):
        find_groups(meta, 'coco81')


def test_from_files(tmp_path):
    text = tmp_path / 'mine.txt'
    text.write_text('\ufeff cat \n\ndog\n', encoding='utf-8')
    assert load_vocabulary(text).classes == ('cat', 'dog')
    assert load_vocabulary(str(text)) == load_vocabulary(['cat', 'dog'])
    file = tmp_path / 'mine.json'
    content = {
        'classes': ['cat', 'dog'],
        'groups': {'pet': ['dog', 'cat']},
        'prompts': ['house cat', 'big dog'],
    }
    file.write_text(json.dumps(content))
    assert load_vocabulary(file) == Vocabulary(
        ('cat', 'dog'), {'pet': ('dog', 'cat')}, ('house cat', 'big dog')
    )
    file.write_text('["cat", "dog"]')
    assert load_vocabulary(file) == load_vocabulary(['cat', 'dog'])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'classes': []}, 'vocabulary is empty'),
        ({'classes': ['a', 'b', 'a']}, r"Duplicate class names: \['a'\]"),
        ({'classes': ['Hot_dog', 'b', 'hot dog']}, "one prompt, 'hot dog'"),
        ({'classes': 'cat'}, "'classes' must be a list of texts"),
        ({'classes': ['a', 1]}, "'classes' must be"),
        ({'classes': ['a', ' ']}, "'classes' must be"),
        ({'classes': ['a'], 'groups': {'g': ['b']}}, "'g' names .*'b'"),
        ({'classes': ['a'], 'groups': ['a']}, "'groups' must be an object"),
        (
            {'classes': ['a'], 'groups': {'g': 'a'}},
            "'groups' must be an object",
        ),
        ({'classes': ['a', 'b'], 'prompts': ['x']}, '1 prompts for 2 classes'),
        ({'names': ['a']}, "'classes' is missing"),
        ({'classes': ['a'], 'group': {}}, r"unknown keys \['group'\]"),
        (3, 'must be an object'),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    file = tmp_path / 'bad.json'
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f'(?s)bad.json: .*{message}'):
        load_vocabulary(file)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.yaml', 'classes: [cat]', '.yaml is not read'),
        ('a.csv', 'id,name', '.csv is not read'),
        ('a.txt', '- cat\n- dog', 'its lines begin'),
    ],
)
def test_lists_of_other_formats(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f'{name}: {message}'):
        load_vocabulary(tmp_path / name)


def test_file_that_is_not_json(tmp_path):
    file = tmp_path / 'bad.json'
    file.write_text('{"classes": [')
    with pytest.raises(ValueError, match='is not valid JSON'):
        load_vocabulary(file)
    empty = tmp_path / 'empty.txt'
    empty.write_text('\n')
    with pytest.raises(ValueError, match=r'empty.txt: .*is empty'):
        load_vocabulary(empty)


def test_unknown_names_and_types():
    with pytest.raises(DataError, match=r'coco81.*coco80'):
        load_vocabulary('coco81')
    with pytest.raises(DataError, match=r"'classes' must.*\['dog', ' '\]"):
        load_vocabulary(['dog', ' '])
    with pytest.raises(ValueError, match='is empty'):
        load_vocabulary([])


def test_imagenet1000_prompts_are_open_clips():
    open_clip = pytest.importorskip('open_clip')
    vocabulary = load_vocabulary('imagenet1000')
    assert vocabulary.prompts == tuple(open_clip.IMAGENET_CLASSNAMES)
    text = '\n'.join(vocabulary.prompts)
    assert hashlib.sha256(text.encode()).hexdigest() == (
        '571ae1c583b4be7da87519494c52bf405a46af05d5815627c7a0dee997068b60'
    )
    # Classes with equal prompts have names of their own, those of ImageNet.
    other = {
        label: name
        for label, name in enumerate(vocabulary.classes)
        if name != vocabulary.prompts[label]
    }
    assert other == {744: 'projectile', 836: 'sunglass'}
    mmpretrain = pytest.importorskip('mmpretrain.datasets.categories')
    for label, name in other.items():
        assert name in mmpretrain.IMAGENET_CATEGORIES[label].split(', ')
