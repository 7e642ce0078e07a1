"""Masks, crops, average precision and FG-CLIP 2's protocols on photos, once
more from features of the towers; see ``from_features.py``."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from from_features import (
    PATCH,
    SIZE,
    accuracies,
    annotated,
    box_features,
    class_embeddings,
    dense_map,
    measure,
    prepare,
    roi_align,
    unit,
)
from mmengine.config import Config
from open_clip.tokenizer import HFTokenizer
from optional_packages import needs_lvis
from PIL import Image
from tiny_clips import shake
from toy_tokenizers import save_toy

import harmoclip_mm
from harmoclip_mm.apis import load_config
from harmoclip_mm.models import ClassifyingPredictor
from harmoclip_mm.registry import MODELS
from harmoclip_mm.text import load_vocabulary, templates

CONFIGS = Path(__file__).parents[2] / 'configs/evaluation'
LIMIT = 9  # images
CELLS = 64
LONGEST = CELLS * PATCH


@pytest.fixture
def photos(panoptic_photos, monkeypatch):
    """Photos with segments, and few templates: all of them are in
    ``test_figures_from_features.py``."""
    monkeypatch.setenv('COCO_ROOT', str(panoptic_photos))
    monkeypatch.setenv('LVIS_ROOT', str(panoptic_photos))
    read = templates._read
    monkeypatch.setattr(templates, '_read', lambda name: read(name)[20:23])
    return panoptic_photos


@pytest.fixture(scope='module')
def varied(tiny_clip):
    """A tiny CLIP to which no two regions look alike: fresh weights give all
    crops one class."""
    clip = tiny_clip(layers=2)
    model = MODELS.build(dict(type='harmoclip_mm.HarmoCLIP', clip=clip))
    return shake(model).eval()


def check_panoptic(found, features, images, categories, model):
    """Accuracies of features of all segments."""
    names = [each['name'] for each in categories]
    texts = class_embeddings(model, names, 'vild63')
    things = [n for n, each in enumerate(categories) if each['isthing']]
    groups = {
        '': range(len(names)),
        'thing_': things,
        'stuff_': set(range(len(names))) - set(things),
    }
    labels = [row['label'] for *_, rows in images for row in rows]
    expected = accuracies(features @ texts.T, labels, groups)
    assert len(expected) == 12 and 0 < expected['top5'] < 60, expected
    for key, value in expected.items():
        assert found[f'box_cls/{key}'] == pytest.approx(value), key


def coverage(masks, shape):
    """Masks (N, H, W) resized by nearest neighbour to a shape: the share of
    each cell that they cover."""
    rows, columns = (
        (np.arange(new) * (old / new)).astype(int)
        for new, old in zip(shape, masks.shape[1:])
    )
    whole = np.zeros((len(masks), LONGEST, LONGEST))
    whole[:, : shape[0], : shape[1]] = masks[:, rows][:, :, columns]
    cells = whole.reshape(len(masks), CELLS, PATCH, CELLS, PATCH)
    return cells.mean(axis=(2, 4))


@pytest.mark.slow
def test_masks(varied, photos):
    name = 'box-cls_clipself_coco-panoptic_masks'
    found, _ = measure(varied, name, LIMIT)
    images, categories = annotated(photos, True, LIMIT)
    features = []
    for path, boxes, rows in images:
        file = photos / f'annotations/panoptic_val2017/{path.stem}.png'
        colours = np.array(Image.open(file)).astype(int)
        segments = colours @ [1, 256, 256**2]
        masks = np.stack([segments == row['id'] for row in rows])
        pixels, ratios = prepare(varied, path, LONGEST)
        dense = dense_map(varied, pixels, normalise=True)
        shape = np.round(np.array(segments.shape) * ratios[:2][::-1])
        shares = coverage(masks, shape.astype(int))
        for share, box in zip(shares, boxes):
            pooled = np.einsum('hw,dhw->d', share, dense)
            if not share.any():
                box = np.array(box) * ratios
                pooled = roi_align(dense, box, 1, 1 / PATCH)[:, 0, 0]
            features.append(unit(pooled))
    check_panoptic(found, np.array(features), images, categories, varied)


def crop_features(model, path, boxes, context=1.0, keep_ratio=False):
    """Each box grown around its centre, within its image, and encoded; with
    its ratio kept on black ground, or squashed."""
    pixels, ratios = prepare(model, path, LONGEST)
    whole = np.float32(np.array(Image.open(path).size) * ratios[:2])
    crops = []
    # in single precision, whose last digit may add a sample to each bin
    for box in np.float32(boxes) * np.float32(ratios):
        centre = (box[:2] + box[2:]) / 2
        half = (box[2:] - box[:2]) / 2 * np.float32(context)
        low, high = np.maximum(centre - half, 0), centre + half
        high = np.minimum(high, whole)
        sides = high - low
        if keep_ratio:  # the window around it
            centre, half = (low + high) / 2, SIZE * (sides / SIZE).max() / 2
            low, high = centre - half, centre + half
        crop = roi_align(pixels, [*low, *high], SIZE)
        if keep_ratio:
            places = np.abs((np.arange(SIZE) + 0.5) / SIZE - 0.5)
            inside = [places <= each / sides.max() / 2 for each in sides]
            inside = inside[1][:, None] & inside[0]
            black = -np.array(model.spec.mean) / np.array(model.spec.std)
            crop = np.where(inside, crop, black[:, None, None])
        crops.append(crop)
    with torch.no_grad():
        crops = torch.from_numpy(np.array(crops, dtype=np.float32))
        return unit(model.backbone.encode(crops, with_dense=False)[0].numpy())


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'context'), [('crops', 1.5), ('stuff-crops', 1.0)]
)
def test_clipself_crops(varied, photos, name, context):
    name = f'box-cls_clipself_coco-panoptic_{name}'
    found, _ = measure(varied, name, LIMIT)
    images, categories = annotated(photos, True, LIMIT)
    features = [
        crop_features(varied, path, boxes, context, keep_ratio=True)
        for path, boxes, _ in images
    ]
    features = np.concatenate(features)
    check_panoptic(found, features, images, categories, varied)


def test_fgclip_crops(varied, photos):
    name = 'box-cls_fgclip_coco_crops'
    found, _ = measure(varied, name, LIMIT)
    images, categories = annotated(photos, limit=LIMIT)
    texts = class_embeddings(
        varied, [each['name'] for each in categories], 'openai80'
    )
    scores = [
        crop_features(varied, path, boxes) @ texts.T
        for path, boxes, _ in images
    ]
    labels = [row['label'] for *_, rows in images for row in rows]
    groups = {'': range(len(categories))}
    for key, value in accuracies(
        np.concatenate(scores), labels, groups
    ).items():
        assert found[f'box_cls/{key}'] == pytest.approx(value), key


def hint(logits, labels):
    """Two thirds of the boxes are told their class, more or less: without,
    all AP is 0."""
    for row, label in enumerate(labels):
        if row % 3:
            logits[row, int(label)] += 9 * (0.618 * (row + 1) % 1)
    return logits


@pytest.fixture
def told(monkeypatch):
    """The predictor's logits get the hint."""
    class_logits = ClassifyingPredictor.class_logits

    def hinted(self, rows, samples, *args):
        found = class_logits(self, rows, samples, *args)
        for sample, logits in zip(samples, found):
            hint(logits, sample.gt_instances.labels)
        return found

    monkeypatch.setattr(ClassifyingPredictor, 'class_logits', hinted)


def overlaps(box, others, crowd=False):
    """IoU of a box with others; of crowds, the share of the box."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(box[2:] - box[:2])
    if crowd:
        return shared / area
    return shared / (area + np.prod(others[:, 2:] - others[:, :2], 1) - shared)


def average_precision(truth, found, threshold):
    """Of one class: boxes of each image, and (score, image, box)."""
    taken, hits = defaultdict(set), []
    for _, image, box in sorted(found, key=lambda each: -each[0]):
        boxes, crowds = truth[image]
        shares = overlaps(box, boxes)
        shares[list(taken[image])] = -1
        best = shares.argmax() if len(shares) else 0
        if len(shares) and shares[best] >= threshold:
            taken[image].add(best)
            hits.append(True)
        elif not (overlaps(box, crowds, True) >= threshold).any():
            hits.append(False)
    total = sum(len(boxes) for boxes, _ in truth.values())
    hits = np.array(hits, dtype=bool)
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    reached = [
        precision[hits.cumsum() / total >= recall].max(initial=0)
        for recall in np.linspace(0, 1, 101)
    ]
    return np.mean(reached)


def precisions(model, images, texts, labels_of, federated=False, **options):
    """AP of given boxes by class and threshold, (C, 10), -1 without a box."""
    scale = float(model.logit_scale()[0].detach())
    empty = np.zeros((0, 4))
    truth = defaultdict(lambda: defaultdict(lambda: [empty, empty]))
    found = defaultdict(list)
    for path, boxes, rows in images:
        every = [labels_of(row) for row in rows]
        for box, label, row in zip(boxes, every, rows):
            kind = row.get('iscrowd', 0)
            old = truth[label][path][kind]
            truth[label][path][kind] = np.append(old, [box], axis=0)
        given = [
            n
            for n, row in enumerate(rows)
            if every[n] is not None and not row.get('iscrowd', 0)
        ]
        if not given:
            continue
        boxes = np.array(boxes)[given]
        labels = [every[n] for n in given]
        logits = scale * box_features(model, path, boxes, **options) @ texts.T
        chances = np.exp(hint(logits, labels))
        chances /= chances.sum(axis=1, keepdims=True)
        for box, row in zip(boxes, chances):
            if not federated or row.argmax() in labels:
                found[row.argmax()].append((row.max(), path, box))
    values = -np.ones((len(texts), 10))
    for label in range(len(texts)):
        if any(len(boxes) for boxes, _ in truth[label].values()):
            for column in range(10):
                values[label, column] = average_precision(
                    truth[label], found[label], 0.5 + 0.05 * column
                )
    return values


def mean(values):
    return values[values >= 0].mean()


@pytest.mark.slow
def test_precision_of_given_boxes_of_ov_coco(model, photos, told):
    found, _ = measure(model, 'box-ap_ov-coco', LIMIT)
    images, categories = annotated(photos, limit=LIMIT)
    groups = load_vocabulary('coco80').groups
    names = [
        each['name']
        for each in categories
        if each['name'] in {*groups['base'], *groups['novel']}
    ]
    place = {name: n for n, name in enumerate(names)}
    values = precisions(
        model,
        images,
        class_embeddings(model, names, 'vild63'),
        lambda row: place.get(categories[row['label']]['name']),
        longest=LONGEST,
        normalise=True,
    )
    for group in ('base', 'novel'):
        own = values[[name in groups[group] for name in names]]
        assert 0.05 < mean(own[:, 0]) < 0.95
        for key, value in (('ap50', own[:, :1]), ('ap', own)):
            key = f'ov_coco/{group}_{key}'
            assert found[key] == pytest.approx(mean(value), abs=2e-3), key


def lvis(photos):
    """What ``annotated`` gives, of LVIS, and the classes of each group."""
    vocabulary = load_vocabulary('lvis1203')
    groups = {'': range(1203)}
    for name, own in vocabulary.groups.items():
        groups[f'{name}_'] = [vocabulary.classes.index(x) for x in own]
    images, _ = annotated(photos, limit=LIMIT)
    content = json.loads((photos / 'annotations/lvis_v1_val.json').read_text())
    labels = {
        each['id']: each['category_id'] - 1 for each in content['annotations']
    }
    found = []
    for path, boxes, rows in images:
        own = [n for n, row in enumerate(rows) if row['id'] in labels]
        rows = [dict(rows[n], label=labels[rows[n]['id']]) for n in own]
        found.append((path, [boxes[n] for n in own], rows))
    names = [each['name'] for each in content['categories']]
    return found, names, groups


@needs_lvis
@pytest.mark.slow
def test_lvis(model, photos, told):
    found, _ = measure(model, 'box-cls_lvis', LIMIT)
    images, names, groups = lvis(photos)
    texts = class_embeddings(model, names, 'openai80')
    scale = float(model.logit_scale()[0].detach())
    labels = [row['label'] for *_, rows in images for row in rows]
    scores = [
        hint(
            scale * box_features(model, path, boxes) @ texts.T,
            [row['label'] for row in rows],
        )
        for path, boxes, rows in images
    ]
    expected = accuracies(np.concatenate(scores), labels, groups)
    assert len(expected) > 8
    for key, value in expected.items():
        assert found[f'box_cls/{key}'] == pytest.approx(value), key
    values = precisions(
        model, images, texts, lambda row: row['label'], federated=True
    )
    for key, own in (
        ('AP', values),
        ('AP50', values[:, :1]),
        ('APr', values[groups['rare_']]),
        ('APf', values[groups['frequent_']]),
    ):
        value = mean(own) if (own >= 0).any() else -1
        # mmdet gives three digits
        assert found[f'lvis/bbox_{key}'] == pytest.approx(value, abs=2e-3), key
    assert 0.05 < mean(values) < 0.95


@pytest.fixture
def sees_case(tmp_path, harmoclip_scope):
    """A tiny CLIP whose tokenizer tells "A" from "a", and open_clip's reading
    of it."""
    folder = tmp_path / 'tokenizer'
    path = CONFIGS.parent / '_base_/models/tiny_clip.py'
    cfg = Config.fromfile(path).tiny_clip
    cfg = cfg.to_dict()
    cfg['vision_cfg']['layers'] = 2
    cfg['text_cfg'].update(
        hf_tokenizer_name=str(folder),
        vocab_size=save_toy('roberta', folder),
        pool_type='eos',
        eos_id=2,
    )
    torch.manual_seed(0)
    model = MODELS.build(dict(type='HarmoCLIP', clip=cfg))
    model.init_weights()
    tokenize = HFTokenizer(str(folder), context_length=77)
    assert (tokenize(['A cat']) != tokenize(['a cat'])).any()
    return model.eval(), tokenize


def test_fg_clip_2_on_boxes(sees_case, photos):
    """Maps as they are, prompts in lower case, which they are anyway."""
    model, tokenize = sees_case
    name = 'box-cls_fgclip2_coco'
    found, _ = measure(model, name, LIMIT)
    images, categories = annotated(photos, limit=LIMIT)
    names = [each['name'] for each in categories]
    texts = class_embeddings(
        model,
        names,
        'openai80',
        lambda texts: tokenize([text.lower() for text in texts]),
    )
    features = [box_features(model, path, boxes) for path, boxes, _ in images]
    labels = [row['label'] for *_, rows in images for row in rows]
    for key, value in accuracies(
        np.concatenate(features) @ texts.T, labels, {'': range(len(names))}
    ).items():
        assert found[f'box_cls/{key}'] == pytest.approx(value), key
    for dataset in ('coco', 'lvis'):  # no more than that is different
        name = 'box-cls_lvis' if dataset == 'lvis' else 'box-cls_fgclip_coco'
        own, plain = (
            load_config(str(CONFIGS / f'{each}.py'), {'clip': 'ViT-B-32'})
            for each in (f'box-cls_fgclip2_{dataset}', name)
        )
        assert own.model.predictors.boxes.classifier.pop('lower')
        assert own.model == plain.model and not own.model.region_extractor.pop(
            'normalise_map'
        )
        assert own.test_dataloader == plain.test_dataloader


@pytest.mark.slow
def test_fg_clip_2_on_fgovd(sees_case, coco_photos, monkeypatch):
    model, tokenize = sees_case
    monkeypatch.setenv('COCO_ROOT', str(coco_photos))
    monkeypatch.setenv('FGOVD_FILES', 'fgovd/region_phrases.jsonl')
    plain, lower = (
        row['figures']
        for row in harmoclip_mm.benchmark(
            model, ['fgovd', 'fgovd_fgclip2'], num_workers=0
        )
    )
    ranks = defaultdict(list)
    sets = {'h': 'hard', 'm': 'medium', 'e': 'easy', 'shuffle': 'trivial'}
    file = coco_photos / 'fgovd/region_phrases.jsonl'
    for line in map(json.loads, file.read_text().splitlines()):
        x, y, w, h = line['bbox']
        path = coco_photos / line['img_path']
        region = box_features(model, path, [[x, y, x + w, y + h]])
        texts = line['pos_expression'] + line['neg_expression']
        with torch.no_grad():
            ids = tokenize([text.lower() for text in texts])
            rows = unit(model.text_encoder(ids).pooled.numpy())
        scores = (region @ rows.T)[0]
        ranks[sets[line['set']]].append((scores >= scores[0]).sum())
    for name, own in ranks.items():
        top1 = 100 * np.mean(np.array(own) == 1)
        assert lower[f'fgovd/{name}_top1'] == pytest.approx(top1)
        assert lower[f'fgovd/{name}_mean_rank'] == pytest.approx(np.mean(own))
    assert plain != lower
