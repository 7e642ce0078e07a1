"""Options of the command line: misspelt keys, and every example we give."""

import argparse
import re
from pathlib import Path

import pytest

from harmoclip_mm.apis import load_config
from harmoclip_mm.command_line import add_config_option
from harmoclip_mm.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
model = dict(
    type='M', backbone=dict(type='B', size=1), micro=None,
    heads=dict(lrc=dict(type='H', loss=dict(type='L'))), parts=[dict(a=1)])
train_dataloader = dict(
    batch_size=1, num_workers=1, dataset=dict(type='D', ann_file='a'))
optim_wrapper = dict(
    type='O', paramwise_cfg=dict(custom_keys=dict(a=dict(lr_mult=1))))
default_hooks = dict(checkpoint=dict(type='C', interval=1))
env_cfg = dict(mp_cfg=dict(start='fork'))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=3)
my_variable = 1
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG)
    return str(path)


def parse(words):
    parser = argparse.ArgumentParser()
    add_config_option(parser, '')
    return parser.parse_args(['--cfg-options', *words]).cfg_options


@pytest.mark.parametrize(
    'word, nearest',
    [
        ('train_dataloder.batch_size=4', 'train_dataloader'),
        ('lod_from=a.pt', 'load_from'),
        ('my_varable=2', 'my_variable'),
        ('train_dataloader.batchsize=4', 'train_dataloader.batch_size'),
        ('train_dataloader.datset.ann_file=b', 'train_dataloader.dataset'),
        ('model.backbon.size=2', 'model.backbone'),
        ('model.heads.lcr.loss.weight=2', 'model.heads.lrc'),
        ('model.heads.lrc.los.weight=2', 'model.heads.lrc.loss'),
        ('model.parts.1.a=2', 'model.parts.0'),
        ('default_hooks.chekpoint.interval=2', 'default_hooks.checkpoint'),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest(config, word, nearest):
    with pytest.raises(UsageError) as error:
        load_config(config, parse([word]))
    assert word.split('=')[0] in str(error.value)
    assert f'is it {nearest}?' in str(error.value)


@pytest.mark.parametrize(
    'words',
    [
        ['load_from=a.pt', 'resume=True', 'work_dir=w', 'experiment_name=e'],
        ['randomness.seed=1', 'auto_scale_lr.enable=True', 'custom_hooks=[]'],
        ['test_dataloader.batch_size=2', 'find_unused_parameters=True'],
        ['train_dataloader.pin_memory=True'],
        ['train_dataloader.persistent_workers=True'],
        ['train_dataloader.batch_sampler.type=AspectRatioBatchSampler'],
        ['env_cfg.dist_cfg.backend=gloo', 'my_variable=2'],
        ['model.backbone.frozen=2', 'model.backbone.init_cfg.checkpoint=a'],
        ['model.micro=2', 'model.parts.0.b=2'],
        ['model.heads.gr.type=G', 'model.heads.gr.mode=crop'],
        ['default_hooks.checkpoint=None', 'default_hooks.ema.type=EMAHook'],
        ['train_cfg.val_interval=2'],
        ['train_cfg.type=EpochBasedTrainLoop', 'train_cfg.max_epochs=2'],
        ['optim_wrapper.clip_grad.max_norm=1'],
        ['optim_wrapper.paramwise_cfg.custom_keys.text_encoder.lr_mult=0'],
        ['optim_wrapper.paramwise_cfg.norm_decay_mult=0'],
    ],
)
def test_what_something_reads_is_taken(config, words):
    options = parse(words)
    cfg = load_config(config, options)
    for key, value in options.items():
        node = cfg
        for part in key.split('.'):
            node = node[int(part)] if part.isdigit() else node[part]
        assert node == value


# Where an example names no config, one of these is meant.
USUAL = (
    'configs/harmoclip_vitb16_coco.py',
    'configs/evaluation/box-cls_fgclip_coco.py',
    'configs/ov_detection/fvit_tiny_1xb8-600i_photos.py',
)
KEYS = 'model|\\w+_dataloader|\\w+_cfg|\\w+_wrapper|\\w+_hooks|randomness'
WORD = re.compile(
    rf'(?<![\w.])(?:(?:{KEYS})\.[\w.]+|load_from|clip)=[^\s`|\'"]+'
)


def examples():
    """Config files and words of an example, by what it stands in."""
    pages = [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')]
    pages += [*(ROOT / 'configs').rglob('*.md')]
    pages += [*(ROOT / 'projects').rglob('*.md')]
    for page in sorted(pages):
        text = page.read_text().replace('\\\n', ' ')
        text = text.replace('--cfg-options\n', '--cfg-options ')
        for line in text.splitlines():
            words = WORD.findall(line)
            if '= ' in line or 'dict(' in line or not words:  # Python's
                continue
            found = re.findall(r'(?:configs|projects)/[\w/.-]+\.py', line)
            yield page.name, tuple(found[:1]) or USUAL, words
    for top in ('tools', 'demo'):
        for path in sorted((ROOT / top).rglob('*.py')):
            for word in re.findall(
                r"add_config_option\(parser, '(.*)'\)", path.read_text()
            ):
                yield path.name, USUAL, [word]


def test_every_example_is_taken(monkeypatch):
    monkeypatch.setenv('COCO_ROOT', 'data')
    found = list(examples())
    assert len(found) > 15
    assert {'train.py', 'README.md', 'scaling.md'} <= {e[0] for e in found}
    for page, configs, words in found:
        # ready to be pasted but for the names in capitals
        words = [
            re.sub(r'clip=[A-Z]+$', 'clip=ViT-B-16', word) for word in words
        ]
        errors = []
        for config in configs:
            try:
                load_config(str(ROOT / config), parse(words))
                break
            except UsageError as error:
                errors.append(str(error))
        else:
            raise AssertionError(f'{page}: {words}: {errors}')


@pytest.mark.parametrize('kind', ['Tensorboard', 'Wandb'])
def test_curves_go_elsewhere_by_one_option(kind):
    """As docs/training.md says; the class is mmengine's own."""
    from mmengine.registry import VISBACKENDS

    name = f'{kind}VisBackend'
    options = {'visualizer.vis_backends.0.type': name}
    cfg = load_config(str(ROOT / 'configs/harmoclip_vitb16_coco.py'), options)
    assert cfg.visualizer.vis_backends == [{'type': name}]
    assert VISBACKENDS.get(name) is not None
