"""Figures of protocols on photos, once more from features of the towers.

A tiny CLIP of random weights is measured by the benchmark; see
``from_features.py`` for what is done again.
"""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from from_features import (
    SIZE,
    accuracies,
    annotated,
    box_features,
    class_embeddings,
    embed,
    measure,
)
from open_clip.transform import image_transform
from PIL import Image

from harmoclip_mm.apis import load_config
from harmoclip_mm.registry import DATASETS
from harmoclip_mm.text import phrase_key

CONFIGS = Path(__file__).parents[2] / 'configs/evaluation'


def figures_of(texts, regions, owners):
    """mAP and R@1 of texts, by sorting; owners are sets of texts of
    regions."""
    precisions, firsts = [], []
    for number, scores in enumerate(texts @ regions.T):
        right = np.array([number in own for own in owners])
        right = right[np.argsort(-scores)]
        if right.any():
            places = np.flatnonzero(right) + 1
            precisions.append(np.mean(np.arange(1, len(places) + 1) / places))
            firsts.append(right[0])
    return {
        'region_retrieval/mAP': 100 * np.mean(precisions),
        'region_retrieval/r1': 100 * np.mean(firsts),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'templates', 'panoptic', 'longest', 'normalise'),
    [
        ('box-cls_fgclip_coco', 'openai80', False, None, False),
        ('box-cls_fineclip_coco-panoptic', 'vild63', True, None, True),
        ('box-cls_clipself_coco-panoptic', 'vild63', True, 640, True),
    ],
    ids=['fgclip', 'fineclip', 'clipself'],
)
def test_boxes(
    name, templates, panoptic, longest, normalise,
    model, panoptic_photos, monkeypatch,
):  # fmt: skip
    monkeypatch.setenv('COCO_ROOT', str(panoptic_photos))
    limit = 9 if longest else None  # 64 x 64 cells take a while
    found, _ = measure(model, name, limit)
    images, categories = annotated(panoptic_photos, panoptic, limit)
    texts = class_embeddings(
        model, [each['name'] for each in categories], templates
    )
    scores = [
        box_features(model, path, boxes, longest, normalise) @ texts.T
        for path, boxes, _ in images
    ]
    groups = {'': range(len(categories))}
    for kind, start in enumerate(('stuff_', 'thing_') if panoptic else ()):
        groups[start] = [
            n for n, each in enumerate(categories) if each['isthing'] == kind
        ]
    labels = [row['label'] for *_, rows in images for row in rows]
    expected = accuracies(np.concatenate(scores), labels, groups)
    for key, value in expected.items():
        assert found[f'box_cls/{key}'] == pytest.approx(value), key
    assert 0 < found['box_cls/top5'] < 50


def test_regions_by_class_name(model, coco_photos, monkeypatch):
    monkeypatch.setenv('COCO_ROOT', str(coco_photos))
    found, _ = measure(model, 'region-retrieval_coco')
    images, categories = annotated(coco_photos)
    texts = embed(model, [f'a photo of a {c["name"]}.' for c in categories])
    regions = [box_features(model, path, boxes) for path, boxes, _ in images]
    owners = [{row['label']} for *_, rows in images for row in rows]
    expected = figures_of(texts, np.concatenate(regions), owners)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=0.05), key
    assert 1 < found['region_retrieval/mAP'] < 50


def test_regions_by_phrase(
    model, coco_photos, tmp_path, monkeypatch, run_tool
):
    root = tmp_path / 'coco'
    (root / 'annotations').mkdir(parents=True)
    (root / 'val2017').symlink_to(coco_photos / 'val2017')
    annotations = coco_photos / 'annotations'
    lines = root / 'annotations/phrases_val2017.jsonl'
    run_tool(
        'dataset_converters/to_odvg.py', 'coco-captions',
        annotations / 'instances_val2017.json',
        '--captions', annotations / 'captions_val2017.json',
        '--out', lines,
    )  # fmt: skip
    monkeypatch.setenv('COCO_ROOT', str(root))
    found, _ = measure(model, 'region-retrieval_coco-phrases')
    cfg = load_config(
        str(CONFIGS / 'region-retrieval_coco-phrases.py'),
        {'clip': model.spec.name},
    )
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    texts, owners, regions = {}, {}, []
    for number in range(len(dataset)):
        info = dataset.get_data_info(number)
        for each in info['instances']:
            phrase = info['phrases'][each['bbox_label']]['phrase']
            key = phrase_key(phrase)
            texts.setdefault(key, phrase)
            box = info['img_path'], *each['bbox']
            if box not in owners:
                regions.append(
                    box_features(model, info['img_path'], [each['bbox']])
                )
            owners.setdefault(box, set()).add(key)
    assert len(owners) > len(texts) > 80
    places = {key: n for n, key in enumerate(texts)}
    expected = figures_of(
        embed(model, list(texts.values())),
        np.concatenate(regions),
        [{places[key] for key in own} for own in owners.values()],
    )
    for key, value in expected.items():
        # phrases of one key may differ by an article
        assert found[key] == pytest.approx(value, abs=0.5), key


@pytest.mark.parametrize('name', ['dci', 'docci'])
def test_long_captions(name, model, coco_photos, tmp_path, monkeypatch):
    """The five captions of a photo as one."""
    path = coco_photos / 'annotations/captions_val2017.json'
    content = json.loads(path.read_text())
    captions = defaultdict(list)
    for each in content['annotations']:
        captions[each['image_id']].append(each['caption'])
    photos = coco_photos / 'val2017'
    folder = {'dci': 'photos', 'docci': 'images'}[name]
    (tmp_path / folder).symlink_to(photos)
    images, texts, lines = [], [], []
    (tmp_path / 'annotations').mkdir()
    transform = image_transform(SIZE, False)
    ordered = sorted(content['images'], key=lambda each: each['file_name'])
    for image in ordered[:12]:
        first, *rest = captions[image['id']]
        text = '\n'.join([first, *rest])
        file = image['file_name']
        lines.append(
            dict(
                example_id=file,
                image_file=file,
                description=text,
                split='test',
            )
        )
        one = dict(
            image=file, short_caption=first, extra_caption='\n'.join(rest)
        )
        (tmp_path / 'annotations' / f'{file}.json').write_text(json.dumps(one))
        texts.append(text)
        images.append(transform(Image.open(photos / file)))
    (tmp_path / 'docci_descriptions.jsonlines').write_text(
        ''.join(json.dumps(line) + '\n' for line in lines)
    )
    monkeypatch.setenv(f'{name.upper()}_ROOT', str(tmp_path))
    found, row = measure(model, f'retrieval_{name}')
    with torch.no_grad():
        seen = model.encode_image(torch.stack(images)).numpy()
    similarity = seen @ embed(model, texts).T
    for key, scores in (('i2t', similarity), ('t2i', similarity.T)):
        rank = (scores >= np.diag(scores)[:, None]).sum(1)
        for k in (1, 5, 10):
            assert found[f'retrieval/{key}_r{k}'] == pytest.approx(
                100 * np.mean(rank <= k)
            )
    cut = sum(
        bool(row[-1]) and len(open_clip.tokenizer._tokenizer.encode(text)) > 75
        for row, text in zip(open_clip.tokenize(texts), texts)
    )
    assert row['data_health'] == (
        {'captions cut at 77 tokens': cut} if cut else {}
    )
