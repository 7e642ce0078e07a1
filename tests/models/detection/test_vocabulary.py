"""Base and novel classes."""

import pytest

from harmoclip_mm.models.detection import split_vocabulary
from harmoclip_mm.models.detection.vocabulary import members
from harmoclip_mm.text import Vocabulary, load_vocabulary


def test_groups_of_coco_leave_the_rest_out():
    split = split_vocabulary('coco80', base='base', novel='novel')
    assert [len(each) for each in split] == [65, 48, 17]
    groups = load_vocabulary('coco80').groups
    assert set(split.base) == set(groups['base'])
    order = load_vocabulary('coco80').classes
    assert list(split.vocabulary.classes) == sorted(
        [*split.base, *split.novel], key=order.index
    )


def test_base_is_what_is_not_novel():
    split = split_vocabulary('lvis1203', novel='rare')
    assert [len(each) for each in split] == [1203, 866, 337]
    split = split_vocabulary(['a', 'b'])
    assert split.base == ('a', 'b') and split.novel == ()


def test_prompts_follow_their_classes():
    vocabulary = Vocabulary(('x', 'y', 'z'), prompts=('one', 'two', 'three'))
    split = split_vocabulary(vocabulary, base=['z'], novel=['x'])
    assert split.vocabulary.classes == ('x', 'z')
    assert split.vocabulary.prompts == ('one', 'three')


@pytest.mark.parametrize(
    'asked, complaint',
    [
        (dict(classes=[]), 'vocabulary is empty'),
        (dict(classes=['a', 'a']), 'Duplicate class names'),
        (
            dict(classes=['a', 'b'], base=['a', 'b'], novel=['b']),
            r"cannot be base and novel: \['b'\]",
        ),
        (dict(classes=['a'], novel=['a']), 'has no base class'),
        (dict(classes=['a'], novel=['b']), 'not in the vocabulary'),
        (dict(classes='coco80', novel='rare'), "no group 'rare'"),
    ],
)
def test_errors(asked, complaint):
    with pytest.raises(ValueError, match=complaint):
        split_vocabulary(**asked)


def test_members_of_a_group_and_of_a_list():
    vocabulary = load_vocabulary('lvis1203')
    assert len(members(vocabulary, 'rare')) == 337
    assert members(vocabulary, ['zebra']) == ('zebra',)
