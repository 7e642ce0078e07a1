"""Figures of protocols on photos, once more from features of the towers.

A tiny CLIP of random weights is measured by the benchmark; here one image at
a time is prepared by Pillow, its boxes are pooled by torchvision, and NumPy
does the rest.
"""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image
from torchvision.ops import roi_align

import harmoclip_mm
from harmoclip_mm.apis import load_config
from harmoclip_mm.models import ZeroShotClassifier
from harmoclip_mm.registry import DATASETS, MODELS
from harmoclip_mm.text import (
    class_to_prompt,
    fill_templates,
    get_templates,
    phrase_key,
)

CONFIGS = Path(__file__).parents[2] / 'configs/evaluation'
SIZE = 80  # of tiny_clip


@pytest.fixture(scope='module')
def model(tiny_clip):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(type='harmoclip_mm.HarmoCLIP', clip=tiny_clip(layers=2))
    )
    model.init_weights()
    return model.eval()


def measure(model, name, out):
    (row,) = harmoclip_mm.benchmark(model, [name], out=out, num_workers=0)
    return row['figures'], row


def embed(model, texts):
    with torch.no_grad():
        rows = model.text_encoder(open_clip.tokenize(texts)).pooled.numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def features(model, path, boxes, longest=None, normalise=False):
    """RoIAlign of boxes in pixels of the file: as FG-CLIP, of the map of the
    squashed image as it is."""
    image = Image.open(path).convert('RGB')
    width, height = image.size
    if longest:
        ratio = max(width, height) / longest
        small = image.resize(
            (round(width / ratio), round(height / ratio)), Image.BICUBIC
        )
        image = Image.new('RGB', (longest, longest))
        image.paste(small, (0, 0))
    else:
        small = image = image.resize((SIZE, SIZE), Image.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    mean, std = (
        torch.tensor(each)[:, None, None]
        for each in (model.spec.mean, model.spec.std)
    )
    boxes = torch.tensor(boxes) * torch.tensor(
        [small.width / width, small.height / height] * 2
    )
    with torch.no_grad():
        dense = model.backbone.encode(
            ((pixels - mean) / std)[None], with_pooled=False
        ).dense
    if normalise:
        dense = dense / dense.norm(dim=1, keepdim=True)
    rows = roi_align(dense, [boxes], 1, 1 / 10, -1, True).flatten(1).numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


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


def class_embeddings(model, names, templates):
    """Normalised, averaged over the templates, normalised again."""
    prompts = [
        prompt
        for name in names
        for prompt in fill_templates(
            get_templates(templates), class_to_prompt(name)
        )
    ]
    rows = np.concatenate(
        [
            embed(model, prompts[start : start + 1000])
            for start in range(0, len(prompts), 1000)
        ]
    )
    rows = rows.reshape(len(names), -1, rows.shape[1]).mean(axis=1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def annotated(root, panoptic):
    """File, boxes (xyxy) and labels of each image, as the protocols score
    them; names and kinds of the classes."""
    kind = 'panoptic' if panoptic else 'instances'
    content = json.loads(
        (root / f'annotations/{kind}_val2017.json').read_text()
    )
    place = {each['id']: n for n, each in enumerate(content['categories'])}
    found = defaultdict(list)
    for each in content['annotations']:
        rows = each['segments_info'][:100] if panoptic else [each]
        for row in rows:
            _, _, w, h = row['bbox']
            fits = 64 <= w * h <= 1024**2 if panoptic else min(w, h) >= 1
            if fits:
                found[each['image_id']].append(row)
    images = []
    for image in content['images']:
        rows = found[image['id']]
        boxes = [(x, y, x + w, y + h) for x, y, w, h in
                 (row['bbox'] for row in rows)]  # fmt: skip
        labels = [place[row['category_id']] for row in rows]
        if rows:
            images.append(
                (root / 'val2017' / image['file_name'], boxes, labels)
            )
    return images, content['categories']


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
    model, panoptic_photos, tmp_path, monkeypatch,
):  # fmt: skip
    monkeypatch.setenv('COCO_ROOT', str(panoptic_photos))
    found, _ = measure(model, name, str(tmp_path))
    images, categories = annotated(panoptic_photos, panoptic)
    texts = class_embeddings(
        model, [each['name'] for each in categories], templates
    )
    ranks, labels = [], []
    for path, boxes, own in images:
        scores = features(model, path, boxes, longest, normalise) @ texts.T
        right = scores[range(len(own)), own]
        ranks += (scores >= right[:, None]).sum(axis=1).tolist()
        labels += own
    ranks, labels = np.array(ranks), np.array(labels)
    things = np.array([each.get('isthing', 1) for each in categories])[labels]
    expected = {}
    for k in (1, 5):
        hits = ranks <= k
        expected[f'box_cls/top{k}'] = hits.mean()
        for start, chosen in (
            ('', things >= 0),
            *(
                (('thing_', things == 1), ('stuff_', things == 0))
                if panoptic
                else ()
            ),
        ):
            shares = [
                hits[chosen & (labels == label)].mean()
                for label in set(labels[chosen])
            ]
            expected[f'box_cls/{start}macro_top{k}'] = np.mean(shares)
    for key, value in expected.items():
        assert found[key] == pytest.approx(100 * value), key
    assert 0 < found['box_cls/top5'] < 50


def test_regions_by_class_name(model, coco_photos, tmp_path, monkeypatch):
    monkeypatch.setenv('COCO_ROOT', str(coco_photos))
    found, _ = measure(model, 'region-retrieval_coco', str(tmp_path))
    path = coco_photos / 'annotations/instances_val2017.json'
    content = json.loads(path.read_text())
    place = {each['id']: n for n, each in enumerate(content['categories'])}
    texts = embed(
        model, [f'a photo of a {c["name"]}.' for c in content['categories']]
    )
    regions, owners = [], []
    for image in content['images']:
        own = [
            each
            for each in content['annotations']
            if each['image_id'] == image['id'] and min(each['bbox'][2:]) >= 1
        ]
        boxes = [
            [x, y, x + w, y + h]
            for x, y, w, h in (each['bbox'] for each in own)
        ]
        if own:
            file = coco_photos / 'val2017' / image['file_name']
            regions.append(features(model, file, boxes))
            owners += [{place[each['category_id']]} for each in own]
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
    found, _ = measure(model, 'region-retrieval_coco-phrases', str(tmp_path))
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
                    features(model, info['img_path'], [each['bbox']])
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
    found, row = measure(model, f'retrieval_{name}', str(tmp_path / 'out'))
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


def test_fg_clip_2_lower_cases(model):
    """The filled templates of classes, and the expressions."""
    options = {'clip': model.spec.name}
    cfg = load_config(str(CONFIGS / 'box-cls_fgclip2_coco.py'), options)
    setting = cfg.model.predictors.boxes.classifier
    assert setting.templates == 'openai80' and setting.lower
    said = []

    class Spy:
        def ids(self, texts):
            said.extend(texts)
            return torch.zeros(len(texts), 1)

    for lower in (False, True):
        said.clear()
        ZeroShotClassifier(['A {} of IKEA'], lower=lower)._prompts(
            ['T-shirt'], Spy()
        )
        wanted = 'A t-shirt of IKEA'
        assert said == [wanted.lower() if lower else wanted]
    cfg = load_config(str(CONFIGS / 'fgovd_fgclip2.py'), options)
    plain = load_config(str(CONFIGS / 'fgovd.py'), options)
    steps = cfg.test_dataloader.dataset.pipeline
    assert steps[3] == dict(
        type='TokenizeCandidates', clip=model.spec.name, lower=True
    )
    assert [steps[i] for i in (0, 1, 2, 4)] == [
        plain.test_dataloader.dataset.pipeline[i] for i in (0, 1, 2, 4)
    ]
