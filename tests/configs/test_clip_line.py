"""One line, `clip = ...`, changes the CLIP of a config everywhere."""

from pathlib import Path

import open_clip
import pytest
import torch
from mmengine.config import Config
from mmengine.utils import to_2tuple

from harmoclip_mm.apis import load_config
from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import DATASETS, MODELS, TRANSFORMS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
LEAVES = sorted(
    str(path.relative_to(CONFIGS))
    for path in CONFIGS.rglob('*.py')
    if '_base_' not in path.parts
)
DETECTORS = [name for name in LEAVES if 'detection/' in name]
EVALUATIONS = [name for name in LEAVES if 'evaluation/' in name]
CLIPS = [
    'ViT-B-16-quickgelu',
    'EVA02-B-16',
    'ViT-B-16-SigLIP2',
    'convnext_base_w',
    'RN50',
]
# Parameters, as counted on open_clip's models of the same names.
COUNTS = {
    'ViT-B-16-quickgelu': 149_620_737,
    'ViT-B-32-quickgelu': 151_277_313,
    'ViT-L-14-quickgelu': 427_616_513,
    'ViT-L-14-336-quickgelu': 427_944_193,
    'ViT-H-14': 986_109_441,
    'EVA02-B-16': 149_691_137,
    'EVA02-L-14-336': 428_083_137,
}


def clips_of(part, path=''):
    """Every value under a key `clip`, by its place."""
    found = {}
    if isinstance(part, dict):
        for key, value in part.items():
            place = f'{path}.{key}'
            if key == 'clip':
                found[place] = value
            else:
                found.update(clips_of(value, place))
    elif isinstance(part, (list, tuple)):
        for index, each in enumerate(part):
            found.update(clips_of(each, f'{path}.{index}'))
    return found


def transforms_of(config, split):
    """Steps of a pipeline with those inside of others."""
    steps, dataset = [], config[f'{split}_dataloader'].dataset
    while dataset:  # a wrapper's first
        for each in dataset.get('pipeline', []):
            steps += [each, *each.get('transforms', [])]
        dataset = dataset.get('dataset')
    return steps


@pytest.mark.parametrize('name', LEAVES)
def test_an_option_reaches_every_part(name):
    clip = 'ViT-B-16-SigLIP-512'
    config = load_config(str(CONFIGS / name), {'clip': clip})
    found = clips_of(config._cfg_dict.to_dict())
    assert found.pop('.clip') == clip
    assert found and set(found.values()) == {clip}
    if name in DETECTORS:
        return  # images of their own sizes, no texts
    steps = [
        step
        for split in ('train', 'val', 'test')
        if config.get(f'{split}_dataloader')
        for step in transforms_of(config, split)
    ]
    assert any(step.type == 'CLIPResize' for step in steps)
    assert not any(step.type.endswith('.Resize') for step in steps)
    for step in steps:
        named = any(x in step.type for x in ('Tokenize', 'CLIP', 'Mosaic'))
        assert named == ('clip' in step)


@pytest.mark.parametrize('name', LEAVES)
def test_without_the_tools_a_clip_is_right_or_missing(name):
    """Whoever reads a config by mmengine alone never gets another CLIP: the
    parts agree, or model and transforms have none and say so. Detectors and
    evaluations are whole, so that mmdet's own tools take them."""
    found = clips_of(Config.fromfile(CONFIGS / name)._cfg_dict.to_dict())
    own = found.pop('.clip')
    missing = {place for place, clip in found.items() if clip is None}
    assert all(clip == own for clip in found.values() if clip is not None)
    assert all('pipeline' in p or p == '.model.clip' for p in missing)
    if name in (*DETECTORS, *EVALUATIONS):
        assert not missing


@pytest.mark.parametrize('clip', CLIPS)
@pytest.mark.parametrize(
    ('name', 'split'),
    [('harmoclip_vitb16_coco.py', 'train'), ('evaluation/fgovd.py', 'test')],
)
def test_model_and_data_are_those_of_the_clip(
    name, split, clip, harmoclip_scope
):
    """Against open_clip itself: towers, preprocessing, text, scores."""
    config = load_config(str(CONFIGS / name), {'clip': clip})
    with torch.device('meta'):  # the shapes alone
        model = MODELS.build(config.model)
        theirs = open_clip.create_model(clip, device='meta')
    vision = model.backbone.visual.state_dict()
    expected = theirs.visual.state_dict()
    assert {key: each.shape for key, each in vision.items()} == {
        key: each.shape for key, each in expected.items()
    }
    count, other = (
        sum(
            weight.numel()
            for key, weight in module.named_parameters()
            if not key.startswith('heads.')
        )
        for module in (model, theirs)
    )
    assert count == other
    size = to_2tuple(theirs.visual.image_size)
    assert model.backbone.img_size == size
    assert (model.logit_scale.bias is None) == (theirs.logit_bias is None)

    cfg = open_clip.get_pretrained_cfg(
        clip, open_clip.list_pretrained_tags_by_model(clip)[0]
    )
    preprocessor = model.data_preprocessor
    assert preprocessor.mean.shape == preprocessor.std.shape == (3, 1, 1)
    spec = model.backbone.spec
    assert (spec.mean, spec.std) == (tuple(cfg['mean']), tuple(cfg['std']))
    resize, tokenize = (
        TRANSFORMS.build(dict(step))
        for step in transforms_of(config, split)
        if 'clip' in step
    )
    assert resize.size == size
    assert resize.spec.interpolation == cfg['interpolation']
    assert tokenize.tokenizer.context_length == theirs.context_length


@pytest.mark.parametrize('name', sorted(COUNTS))
def test_towers_have_the_size_of_the_original(name, harmoclip_scope):
    config = load_config(
        str(CONFIGS / '_base_/models/clip.py'), {'clip': name}
    )
    with torch.device('meta'):
        model = MODELS.build(config.model)
    count = sum(weight.numel() for weight in model.parameters())
    assert count == COUNTS[name]


@pytest.mark.parametrize('name', EVALUATIONS)
@pytest.mark.parametrize(
    ('clip', 'size', 'cell'),
    [
        ('EVA02-L-14-336', 336, 14),
        ('convnext_large_d_320', 320, 32),
    ],
)
def test_evaluations_see_images_at_the_size_of_the_clip(
    name, clip, size, cell
):
    config = load_config(str(CONFIGS / name), {'clip': clip})
    assert not config.model.get('heads')
    assert config.test_cfg and not config.get('train_dataloader')
    (resize,) = (
        TRANSFORMS.build(dict(each, type='harmoclip_mm.CLIPResize'))
        for each in transforms_of(config, 'test')
        if each.type == 'CLIPResize'
    )
    if any(each in name for each in ('clipself', 'box-ap', 'crops')):
        size = 64 * cell  # 1024 px with patches of 16
    assert resize.size == (size, size)


def test_siglip_2_is_one_short_config(harmoclip_scope):
    """With its own losses and scores; its tokenizer is a file of the hub."""
    path = CONFIGS / 'harmoclip_siglip2-vitb16_coco.py'
    assert len(path.read_text().splitlines()) <= 12
    config = load_config(str(path))
    with torch.device('meta'):
        model = MODELS.build(config.model)
    assert model.logit_scale.bias is not None
    for head in model.heads.values():
        assert type(head.loss_module).__name__ == 'SigmoidContrastiveLoss'
        assert head.logit_scale is None and head.bias is None  # the CLIP's
    tokenize = TRANSFORMS.build(
        next(
            dict(step)
            for step in transforms_of(config, 'train')
            if step.type == 'TokenizeRegionText'
        )
    )
    with pytest.raises(UsageError, match='timm/ViT-B-16-SigLIP2'):
        tokenize({'captions': ['a dog']})


def test_photos_are_read_at_336(coco_photos, monkeypatch, harmoclip_scope):
    monkeypatch.setenv('COCO_ROOT', str(coco_photos))
    config = load_config(
        str(CONFIGS / 'harmoclip_eva02-vitl14_8xb10-10e_coco.py')
    )
    dataset = DATASETS.build(config.val_dataloader.dataset)
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 336, 336)
    assert sample['data_samples'].img_shape == (336, 336)


def test_a_line_of_a_child_config_wins(tmp_path):
    child = tmp_path / 'child.py'
    base = str(CONFIGS / 'harmoclip_vitb16_coco.py')
    child.write_text(f"_base_ = {base!r}\nclip = 'ViT-L-14'\n")
    config = load_config(str(child))
    assert set(clips_of(config._cfg_dict.to_dict()).values()) == {'ViT-L-14'}
