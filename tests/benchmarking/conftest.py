"""Data of several protocols, made of real photos, and tiny CLIPs."""

import json
from collections import defaultdict

import pytest
import torch

from harmoclip_mm.models.classifiers import zero_shot_classifier
from harmoclip_mm.registry import MODELS
from harmoclip_mm.text import get_templates

FEW_TEMPLATES = 2


@pytest.fixture(scope='session')
def data_roots(panoptic_photos, coco_photos, tmp_path_factory):
    """Variables of data on which the benchmark finds boxes, segments, LVIS,
    FG-OVD and Flickr30k; other protocols find none."""
    coco = tmp_path_factory.mktemp('coco')
    for each in (
        panoptic_photos / 'val2017',
        panoptic_photos / 'annotations',
        coco_photos / 'train2017',
        coco_photos / 'fgovd',
    ):
        (coco / each.name).symlink_to(each)
    flickr = tmp_path_factory.mktemp('flickr')
    (flickr / 'flickr30k-images').symlink_to(coco_photos / 'val2017')
    path = coco_photos / 'annotations/captions_val2017.json'
    content = json.loads(path.read_text())
    captions = defaultdict(list)
    for each in content['annotations']:
        captions[each['image_id']].append({'raw': each['caption']})
    images = [
        dict(
            filename=image['file_name'],
            imgid=number,
            split='test',
            sentences=captions[image['id']],
        )
        for number, image in enumerate(content['images'])
    ]
    file = flickr / 'dataset_flickr30k.json'
    file.write_text(json.dumps(dict(images=images)))
    return dict(
        COCO_ROOT=str(coco),
        LVIS_ROOT=str(panoptic_photos),
        FLICKR30K_ROOT=str(flickr),
        FGOVD_FILES='fgovd/region_phrases.jsonl',
        IMAGENET_ROOT=str(coco / 'no_imagenet'),
        DCI_ROOT=str(coco / 'no_dci'),
        DOCCI_ROOT=str(coco / 'no_docci'),
    )


@pytest.fixture
def roots(data_roots, monkeypatch):
    """The environment with these data."""
    for name, value in data_roots.items():
        monkeypatch.setenv(name, value)
    for name in ('COCO_KARPATHY', 'FLICKR30K_KARPATHY', 'REFEXP_FILE'):
        monkeypatch.delenv(name, raising=False)
    return data_roots


@pytest.fixture
def few_templates(monkeypatch):
    """The first templates of a set alone: a protocol's 80 times 80 prompts
    take most of its time."""
    monkeypatch.setattr(
        zero_shot_classifier,
        'get_templates',
        lambda name: get_templates(name)[:FEW_TEMPLATES],
    )
    return FEW_TEMPLATES


@pytest.fixture
def make_model(tiny_clip, harmoclip_scope):
    """Make a tiny CLIP of random weights."""

    def make(seed=0, layers=2):
        torch.manual_seed(seed)
        model = MODELS.build(
            dict(type='HarmoCLIP', clip=tiny_clip(layers=layers))
        )
        model.init_weights()
        return model.eval()

    return make
