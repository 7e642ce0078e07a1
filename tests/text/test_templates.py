"""Tests of the prompt templates against other libraries' copies."""

import ast
import hashlib
import importlib.util
from pathlib import Path

import pytest

from harmoclip_mm.text import (
    fill_templates,
    get_templates,
    templates,
)

SHA256 = {
    'openai80': '717aaf1055595d318aa456669c0de667'
    '5d883ccebfa70ca12ff890b7aab710cb',
    'vild63': 'dbb491b8fa1be22e9c4a734fb71bcc43'
    '2290321eda11fa22dd1882af2818fb6d',
    'simple': '947941414700ac5fb72cba52dae20e43'
    '9fdbadd476dea9986767430e857ac155',
    'none': 'ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356',
}


@pytest.mark.parametrize(
    ('name', 'count'),
    [('openai80', 80), ('vild63', 63), ('simple', 1), ('none', 1)],
)
def test_counts_and_checksums(name, count):
    assert len(get_templates(name)) == len(set(get_templates(name))) == count
    path = Path(templates.__file__).parent / f'data/templates/{name}.txt'
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[name]


def test_all_sets_are_legal_templates():
    for name in ('none', 'openai80', 'simple', 'vild63'):
        assert get_templates(list(get_templates(name))) == get_templates(name)


def test_openai80_equals_open_clip():
    metadata = pytest.importorskip('open_clip.zero_shot_metadata')
    expected = [make('{}') for make in metadata.OPENAI_IMAGENET_TEMPLATES]
    assert list(get_templates('openai80')) == expected
    filled = [make('tabby cat') for make in metadata.OPENAI_IMAGENET_TEMPLATES]
    assert fill_templates(get_templates('openai80'), 'tabby cat') == filled


@pytest.mark.parametrize('words', ['dog', 'apple', 'wall-brick', 'hair drier'])
def test_vild63_equals_the_copy_in_mmpretrain(words):
    # mmpretrain's RAM carries ViLD's list and its way of filling it; the
    # file is parsed because importing it pulls in transformers.
    spec = importlib.util.find_spec('mmpretrain')
    if spec is None:
        pytest.skip('mmpretrain is not installed')
    path = Path(spec.origin).parent / 'models/multimodal/ram/openset_utils.py'
    tree = ast.parse(path.read_text())
    lists = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
    }
    article = 'an' if words[0] in 'aeiou' else 'a'
    expected = []
    for template in ast.literal_eval(lists['multiple_templates']):
        text = template.format(words, article=article)
        if text.startswith('a') or text.startswith('the'):
            text = 'This is ' + text
        expected.append(text)
    assert fill_templates(get_templates('vild63'), words) == expected


def test_fill_templates():
    assert fill_templates(['a {}.', '{article} {}'], 'Apple.') == [
        'a Apple.',
        'an Apple',
    ]
    assert fill_templates(get_templates('none'), 'dog') == ['dog']
    vild = fill_templates(get_templates('vild63'), 'orange')
    assert vild[0] == 'There is an orange in the scene.'
    assert vild[2] == 'This is a photo of an orange in the scene.'
    assert vild[5] == 'itap of an orange.'


def test_templates_of_ones_own():
    assert get_templates(['my {}', 'the {}']) == ('my {}', 'the {}')


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        ('openai', 'choose one of none, openai80, simple, vild63'),
        ([], 'empty'),
        (['a {}', 'a photo'], 'Template 1 must have one {}'),
        (['{} and {}'], 'Template 0'),
        (['a {color} {}'], 'no field but'),
    ],
)
def test_bad_templates(bad, message):
    with pytest.raises(ValueError, match=message):
        get_templates(bad)
