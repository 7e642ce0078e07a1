import pytest

from harmoclip_mm.apis import load_config
from harmoclip_mm.errors import UsageError


def test_work_dir_of_argument_then_config_then_name(tmp_path):
    path = tmp_path / 'name.py'
    path.write_text('a = dict(b=1)\n')
    cfg = load_config(str(path), {'a.b': 2})
    assert cfg.a.b == 2
    assert cfg.work_dir == './work_dirs/name'
    path.write_text("work_dir = 'own'\n")
    assert load_config(str(path)).work_dir == 'own'
    assert load_config(str(path), work_dir='given').work_dir == 'given'


def test_missing_file():
    with pytest.raises(UsageError, match=r'config file no\.py does not exist'):
        load_config('no.py')


@pytest.mark.parametrize(
    'name, text, told',
    [
        ('empty.json', '', 'JSONDecodeError'),
        ('list.json', '[1]', 'AttributeError'),
        ('empty.yaml', '', 'AttributeError'),
        ('syntax.py', 'a = = 1', 'line 1'),
        ('name.py', 'a = 1\nb = a + c', r"line 2 of .*name\.py.*'c'"),
        ('base.py', "_base_ = 'no.py'", r'no\.py'),
        ('text.txt', 'a = 1', 'Only py'),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, name, text, told):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=rf'{name} .* read: .*{told}'):
        load_config(str(path))


CONFIG = """
clip = 'ViT-B-16'
model = dict(clip=None, parts=[dict(clip='RN50'), dict(other=1)])
data = dict(pipeline=(dict(type='A', clip=clip), dict(type='B')))
"""
TINY = dict(
    embed_dim=8,
    vision_cfg=dict(image_size=32, patch_size=8, width=64, layers=1),
    text_cfg=dict(width=64, heads=1, layers=1),
)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG)
    return str(path)


def test_the_clip_is_written_into_every_part_that_has_one(config):
    cfg = load_config(config)
    assert cfg.model == dict(
        clip='ViT-B-16', parts=[dict(clip='ViT-B-16'), dict(other=1)]
    )
    assert [each.get('clip') for each in cfg.data.pipeline] == [
        'ViT-B-16',
        None,
    ]
    cfg = load_config(config, {'clip': 'RN50', 'model.parts.1.other': 2})
    assert cfg.clip == cfg.model.clip == cfg.data.pipeline[0].clip == 'RN50'
    assert cfg.model.parts[1] == dict(other=2)


def test_a_clip_may_be_a_dict(config):
    """It takes the place of a name, and its settings can be changed."""
    cfg = load_config(config, {'clip': TINY})
    assert cfg.clip == cfg.model.clip == TINY
    # no part shares it with another
    cfg.model.clip.embed_dim = 9
    assert cfg.model.parts[0].clip.embed_dim == 8
    with open(config, 'w') as file:
        file.write(f'clip = {TINY!r}\nmodel = dict(clip=clip)\n')
    cfg = load_config(config, {'clip.vision_cfg.layers': 3})
    assert cfg.model.clip.vision_cfg.layers == 3
    assert cfg.model.clip.vision_cfg.width == 64
    assert load_config(config, {'clip': 'RN50'}).model.clip == 'RN50'


@pytest.mark.parametrize('key', ['model.clip', 'model.parts.0.clip.layers'])
def test_a_part_has_no_clip_of_its_own(config, key):
    with pytest.raises(UsageError, match=rf'{key}: .*give clip=NAME'):
        load_config(config, {key: 'RN50'})


def test_an_unknown_clip_is_told_at_once(config):
    with pytest.raises(UsageError, match=r'ViT-B-61.*ViT-B-16'):
        load_config(config, {'clip': 'ViT-B-61'})
    with pytest.raises(UsageError, match='text_cfg'):
        load_config(config, {'clip': dict(embed_dim=8)})


def test_a_config_without_a_clip_is_left_alone(tmp_path):
    path = tmp_path / 'plain.py'
    path.write_text("model = dict(clip='anything', teacher=dict(clip=1))\n")
    model = load_config(str(path)).model
    assert model == dict(clip='anything', teacher=dict(clip=1))
