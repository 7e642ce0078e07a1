"""Figures once more, from what the towers make of images and texts.

One image at a time is prepared by Pillow; NumPy pools regions, cuts crops and
counts. Only the towers are the package's own.
"""

import json
from collections import defaultdict

import numpy as np
import open_clip
import torch
from PIL import Image

import harmoclip_mm
from harmoclip_mm.text import class_to_prompt, fill_templates, get_templates

SIZE, PATCH = 80, 10  # of tiny_clip


def measure(model, name, limit=None):
    """Figures and row of the benchmark."""
    (row,) = harmoclip_mm.benchmark(model, [name], limit=limit, num_workers=0)
    return row['figures'], row


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def embed(model, texts, tokenize=open_clip.tokenize):
    with torch.no_grad():
        parts = [
            model.text_encoder(tokenize(texts[start : start + 1000])).pooled
            for start in range(0, len(texts), 1000)
        ]
    return unit(torch.cat(parts).numpy())


def class_embeddings(model, names, templates, tokenize=open_clip.tokenize):
    """Normalised, averaged over the templates, normalised again."""
    rows = embed(
        model,
        [
            prompt
            for name in names
            for prompt in fill_templates(
                get_templates(templates), class_to_prompt(name)
            )
        ],
        tokenize,
    )
    return unit(rows.reshape(len(names), -1, rows.shape[1]).mean(axis=1))


def prepare(model, path, longest=None):
    """Pixels (3, H, W) of the squashed image, or of one whose longest side
    has a length, and what a box of the file is to be multiplied by."""
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
    pixels = np.array(image).transpose(2, 0, 1) / 255
    mean, std = (
        np.array(each)[:, None, None]
        for each in (model.spec.mean, model.spec.std)
    )
    ratios = np.array([small.width / width, small.height / height] * 2)
    return ((pixels - mean) / std).astype(np.float32), ratios


def dense_map(model, pixels, normalise=False):
    """(D, h, w) as NumPy."""
    with torch.no_grad():
        dense = model.backbone.encode(
            torch.from_numpy(pixels)[None], with_pooled=False
        ).dense[0]
    if normalise:
        dense = dense / dense.norm(dim=0, keepdim=True)
    return dense.numpy()


def sampling(low, high, bins, length):
    """What RoIAlign (arXiv 1703.06870) averages along one side, (bins,
    length): as many bilinear samples a bin as it has cells, rounded up."""
    size = (high - low) / np.float32(bins)
    count = max(int(np.ceil(size)), 1)
    weights = np.zeros((bins, length))
    for row in range(bins):
        for number in range(count):
            place = low + size * (row + (number + 0.5) / count)
            if -1 <= place <= length:
                place = min(max(place, 0), length - 1)
                left = min(int(place), max(length - 2, 0))
                weights[row, left] += (left + 1 - place) / count
                weights[row, min(left + 1, length - 1)] += (
                    place - left
                ) / count
    return weights


def roi_align(fmap, box, bins=1, scale=1.0):
    """A box of a map (C, H, W) as (C, bins, bins)."""
    x1, y1, x2, y2 = np.float32(box) * np.float32(scale) - np.float32(0.5)
    rows = sampling(y1, y2, bins, fmap.shape[1])
    columns = sampling(x1, x2, bins, fmap.shape[2])
    return rows @ fmap @ columns.T


def box_features(model, path, boxes, longest=None, normalise=False):
    """Boxes in pixels of the file, (N, D)."""
    pixels, ratios = prepare(model, path, longest)
    dense = dense_map(model, pixels, normalise)
    return unit(
        np.array(
            [
                roi_align(dense, np.array(box) * ratios, 1, 1 / PATCH)
                for box in boxes
            ]
        )[..., 0, 0]
    )


def annotated(root, panoptic=False, limit=None):
    """Image, boxes (xyxy), and records of each image, as the protocols score
    them, with ``label``; and the classes."""
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
                label = place[row['category_id']]
                found[each['image_id']].append(dict(row, label=label))
    images = []
    for image in content['images'][:limit]:
        rows = found[image['id']]
        boxes = [[x, y, x + w, y + h] for x, y, w, h in
                 (row['bbox'] for row in rows)]  # fmt: skip
        if rows:
            path = root / 'val2017' / image['file_name']
            images.append((path, boxes, rows))
    return images, content['categories']


def accuracies(scores, labels, groups):
    """``top1``, ``macro_top5`` and so on, in percent.

    Args:
        scores (np.ndarray): Of all classes, (N, C).
        labels (np.ndarray): The right ones, (N,).
        groups (dict): Classes by prefix.
    """
    labels, expected = np.array(labels), {}
    right = scores[range(len(labels)), labels]
    ranks = (scores >= right[:, None]).sum(axis=1)
    for k in (1, 5):
        hits = ranks <= k
        for start, classes in groups.items():
            chosen = np.isin(labels, list(classes))
            shares = [
                hits[labels == label].mean() for label in set(labels[chosen])
            ]
            if shares:
                expected[f'{start}top{k}'] = 100 * hits[chosen].mean()
                expected[f'{start}macro_top{k}'] = 100 * np.mean(shares)
    return expected
