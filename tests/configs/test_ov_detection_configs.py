"""Open-vocabulary detectors, as configs/ov_detection/ has them."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny_clips
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from PIL import Image
from timm.models import register_model

from harmoclip_mm.apis import load_config
from harmoclip_mm.apis.config import set_clip
from harmoclip_mm.models import (
    FederatedCrossEntropyLoss,
    OpenVocabularyDetector,
)
from harmoclip_mm.models.towers import CLIPSpec, clip_spec
from harmoclip_mm.registry import DATASETS, METRICS, MODELS
from harmoclip_mm.text import load_vocabulary

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'ov_detection'
NAMES = sorted(path.name for path in FOLDER.glob('*.py'))
FULL = [name for name in NAMES if 'tiny' not in name]
# Parameters of OpenAI's towers (see tests/test_configs.py) without the
# temperature.
TOWERS = {'fvit_vitb16_8xb8-3e_ov-coco.py': 149_620_736}


def annotation(number, image, category) -> dict:
    return {
        'id': number, 'image_id': image, 'category_id': category,
        'bbox': [4, 6, 40, 36], 'area': 1440, 'iscrowd': 0,
        'segmentation': [[4, 6, 44, 6, 44, 42, 4, 42]],
    }  # fmt: skip


def write_benchmark(root: Path, run_tool) -> None:
    """Two pictures as COCO and as LVIS, with a base and a novel box each."""
    for name, classes in (('coco', 'coco80'), ('lvis', 'lvis1203')):
        vocabulary = load_vocabulary(classes)
        novel = 'novel' if name == 'coco' else 'rare'
        base = 'base' if name == 'coco' else 'frequent'
        members = {
            key: vocabulary.classes.index(vocabulary.groups[group][0]) + 1
            for key, group in (('novel', novel), ('base', base))
        }
        groups = {
            each: group[0]
            for group, names in vocabulary.groups.items()
            for each in names
        }
        categories = [
            {
                'id': number,
                'name': each,
                'frequency': groups.get(each, ''),
                'image_count': number,
            }
            for number, each in enumerate(vocabulary.classes, 1)
        ]
        folder = root / name / 'annotations'
        folder.mkdir(parents=True)
        for split in ('train', 'val'):
            images, boxes = [], []
            for number in (1, 2):
                url = f'{split}2017/{number}.jpg'
                images.append(
                    {
                        'id': number, 'file_name': f'{number}.jpg',
                        'coco_url': f'http://images.cocodataset.org/{url}',
                        'width': 64, 'height': 48, 'neg_category_ids': [],
                        'not_exhaustive_category_ids': [],
                    }
                )  # fmt: skip
                pixels = np.random.default_rng(number).integers(
                    0, 256, (48, 64, 3), dtype=np.uint8
                )
                path = root / 'coco' / url
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
                boxes += [
                    annotation(2 * number, number, members['base']),
                    annotation(2 * number + 1, number, members['novel']),
                ]
            file = (
                f'instances_{split}2017.json'
                if name == 'coco'
                else f'lvis_v1_{split}.json'
            )
            content = {
                'images': images,
                'annotations': boxes,
                'categories': categories,
            }
            (folder / file).write_text(json.dumps(content))
        run_tool('dataset_converters/ov_splits.py', name, root / name)


@pytest.fixture(scope='module', autouse=True)
def data(tmp_path_factory, run_tool):
    """Folders of stand-in data, named by the environment as a user would."""
    root = tmp_path_factory.mktemp('data')
    write_benchmark(root, run_tool)
    with pytest.MonkeyPatch.context() as patch:
        for name in ('coco', 'lvis'):
            patch.setenv(f'{name.upper()}_ROOT', f'{root / name}/')
        patch.setenv('CLIP_CHECKPOINT', 'some/clip.pt')
        yield root


def read(name: str) -> Config:
    """A config as the tools read it."""
    init_default_scope('mmdet')
    config = load_config(str(FOLDER / name))
    config.name = name
    return config


@pytest.fixture(scope='module', params=NAMES)
def config(request) -> Config:
    """Each of the configs."""
    return read(request.param)


# Depth and patch size of the next thin tower of timm's.
DEEP = {}


@register_model
def deep_eva02(pretrained=False, **kwargs):
    return tiny_clips.tiny_eva02(**DEEP, **kwargs)


@register_model
def deep_siglip(pretrained=False, **kwargs):
    return tiny_clips.tiny_siglip(**DEEP, **kwargs)


def thin_clip(spec: CLIPSpec, depth: int) -> dict:
    """A CLIP of the family and the cells of another, with so many blocks."""
    timm_name = spec.model_cfg['vision_cfg'].get('timm_model_name', '')
    family = next(
        (x for x in ('eva02', 'siglip', 'convnext') if x in timm_name), 'vit'
    )
    clip = copy.deepcopy(tiny_clips.ALL[family])
    vision = clip['vision_cfg']
    vision['image_size'] = 4 * spec.patch_size
    if family == 'vit':
        vision.update(patch_size=spec.patch_size, layers=depth)
    elif family != 'convnext':
        vision['timm_model_name'] = f'deep_{family}'
        DEEP.update(patch_size=spec.patch_size, depth=depth)
    return clip


def make_narrow(part: dict) -> None:
    """Take 16 channels in place of 256."""
    for key, value in part.items():
        if isinstance(value, dict):
            make_narrow(value)
        elif key.endswith('channels') and value == 256:
            part[key] = 16


def narrow(config: Config) -> Config:
    """The same detector with thin towers and heads, on small pictures."""
    config = config.copy()
    model = config.model
    model.init_cfg = None
    cell = clip_spec(config.clip).patch_size
    # the first blocks in place of those of a deep tower
    depth = len(model.backbone.out_indices)
    model.backbone.out_indices = tuple(range(depth))
    config.clip = thin_clip(clip_spec(config.clip), depth)
    set_clip(config)
    channels = MODELS.build(model.backbone).block_dims
    model.neck.in_channels = (
        list(channels) if model.neck.type == 'FPN' else channels[-1]
    )
    # 1203 classes in 63 templates take a CPU minutes
    model.roi_head.bbox_head.templates = 'simple'
    model.roi_head.bbox_head.fc_out_channels = 16
    if 'mask_head' in model.roi_head:
        model.roi_head.mask_head.num_convs = 1
    # 1000 boxes x 1203 classes take NMS a while, too
    model.train_cfg.rcnn.sampler.num = 64
    model.test_cfg.rpn.max_per_img = 8
    for part in (model.neck, model.rpn_head, model.roi_head):
        make_narrow(part)
    model.data_preprocessor.pad_size_divisor = 4 * cell
    model.test_cfg.rcnn.score_thr = 0.0  # nothing is certain yet
    loaders = (config.train_dataloader, config.test_dataloader)
    for step in [x for each in loaders for x in each.dataset.pipeline]:
        for key in ('scale', 'crop_size'):
            if key in step:
                step[key] = (64, 64)
        if 'ratio_range' in step:
            step.ratio_range = (1.0, 1.0)
    return config


def test_the_configs_exist():
    towers = (
        *('vitb16', 'vitl14', 'eva02-vitb16', 'eva02-vitl14'),
        *('siglip2-vitb16', 'convnext-large'),
    )
    assert set(FULL) == {
        f'fvit_{tower}_{benchmark}.py'
        for tower in towers
        for benchmark in ('8xb8-3e_ov-coco', '8xb8-48e_ov-lvis')
    }
    assert set(NAMES) - set(FULL) == {'fvit_tiny_1xb8-600i_photos.py'}


def test_leaves_are_short_and_mmdets(config):
    text = (FOLDER / config.name).read_text()
    assert len(text.splitlines()) < 60
    assert config.default_scope == 'mmdet'
    assert config.custom_imports.imports == ['harmoclip_mm']
    # two runs in one process that share a name would share a folder
    assert config.visualizer.type == 'DetLocalVisualizer'
    assert 'name' not in config.visualizer
    assert config.model.init_cfg.checkpoint == 'some/clip.pt'
    for part in (config.model, config.test_dataloader, config.train_cfg):
        assert '_delete_' not in str(part)
    stated = re.search(r'(\d+) GPUs x (\d+) images', text)
    gpus = int(stated[1]) if stated else 1
    batch = config.train_dataloader.batch_size
    assert not stated or batch == int(stated[2])
    assert config.auto_scale_lr.base_batch_size == gpus * batch
    assert not config.auto_scale_lr.enable


def test_full_size(config):
    """The widths fit, and the levels have the strides that the heads take
    them for."""
    with torch.device('meta'):  # the shapes alone
        towers = [
            MODELS.build(config.model[name])
            for name in ('backbone', 'text_encoder')
        ]
        patch = towers[0].patch_size
        side = config.model.data_preprocessor.pad_size_divisor
        side = side if side > patch else 8 * patch
        neck = MODELS.build(config.model.neck)
        maps = neck(towers[0](torch.empty(1, 3, side, side)))
    assert towers[0].out_dims == towers[1].out_dims
    generator = config.model.rpn_head.anchor_generator
    assert [side / each.shape[-1] for each in maps] == list(generator.strides)
    extractors = [config.model.roi_head.bbox_roi_extractor]
    if 'lvis' in config.name:
        extractors.append(config.model.roi_head.mask_roi_extractor)
    for extractor in extractors:
        used = list(extractor.featmap_strides)
        assert used == list(generator.strides)[: len(used)]
    if config.name in TOWERS:
        count = sum(
            weight.numel() for tower in towers for weight in tower.parameters()
        )
        assert count == TOWERS[config.name]


def test_images_fill_the_square_that_is_padded_to(config):
    if 'tiny' in config.name:
        pytest.skip('its images keep their size, no step changes it')
    square = config.model.data_preprocessor.pad_size_divisor
    assert square % clip_spec(config.clip).patch_size == 0
    sizes = [
        step[key]
        for loader in (config.train_dataloader, config.test_dataloader)
        for step in loader.dataset.pipeline
        for key in ('scale', 'crop_size')
        if key in step
    ]
    assert len(sizes) == 3 and set(np.ravel(sizes)) == {square}


def test_the_data_sets_name_the_classes(config):
    """Base classes in the training, all in the test; no model names any."""
    if 'photos' in config.name:
        pytest.skip('tests/tools/test_ov_detection_tools.py trains it')
    assert 'vocabulary' not in str(config.model)
    train = DATASETS.build(config.train_dataloader.dataset)
    test = DATASETS.build(config.test_dataloader.dataset)
    base = tuple(train[0]['data_samples'].text)
    classes = tuple(test[0]['data_samples'].text)
    assert base == tuple(train.metainfo['classes'])
    assert classes == tuple(test.metainfo['classes'])
    assert base == tuple(name for name in classes if name in base)
    novel = [name for name in classes if name not in base]
    metric = METRICS.build(config.test_evaluator[0])
    if 'lvis' not in config.name:
        assert base == tuple(test.metainfo['base_classes'])
        assert set(novel) == set(test.metainfo['novel_classes'])
        assert type(metric).__name__ == 'OVCocoMetric'
    else:
        assert len(base) == 866
        assert novel == list(load_vocabulary('lvis1203').groups['rare'])
        assert type(metric).__name__ == 'LVISAPMetric'


@pytest.mark.parametrize(
    'name',
    [
        'fvit_vitb16_8xb8-3e_ov-coco.py',
        'fvit_convnext-large_8xb8-48e_ov-lvis.py',
        pytest.param(
            'fvit_siglip2-vitb16_8xb8-3e_ov-coco.py', marks=pytest.mark.slow
        ),
        pytest.param(
            'fvit_eva02-vitl14_8xb8-48e_ov-lvis.py', marks=pytest.mark.slow
        ),
    ],
)
def test_a_step_and_a_prediction(name):
    """Losses are finite and fall on the heads alone; a test gives boxes.

    Of every family of towers and both benchmarks; full sizes differ by their
    numbers alone, which are looked at above.
    """
    torch.manual_seed(0)
    config = narrow(read(name))
    model = revert_sync_batchnorm(MODELS.build(config.model))
    model.init_weights()
    model.train()
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    assert isinstance(model, OpenVocabularyDetector)
    assert not any(w.requires_grad for w in model.backbone.parameters())
    train = DATASETS.build(config.train_dataloader.dataset)
    logs = model.train_step(pseudo_collate([train[0], train[1]]), wrapper)
    expected = {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox'}
    if 'lvis' in config.name:
        expected.add('loss_mask')
    assert expected <= set(logs)
    assert all(torch.isfinite(value).all() for value in logs.values())
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[name])
    assert model.trained_classes == tuple(train.metainfo['classes'])
    if 'lvis' in config.name:
        loss = model.roi_head.bbox_head.loss_cls
        assert isinstance(loss, FederatedCrossEntropyLoss)
        assert len(loss.weights) == 866
    model.eval()
    test = DATASETS.build(config.test_dataloader.dataset)
    with torch.no_grad():
        (found,) = model.test_step(pseudo_collate([test[0]]))
    assert model.roi_head.bbox_head.num_classes == len(
        test.metainfo['classes']
    )
    found = found.pred_instances
    assert len(found.bboxes) == len(found.scores) <= 300
    assert len(found.bboxes) and ('masks' in found) == ('lvis' in config.name)
