"""The evaluation configs of texts, from files to figures, on real photos.

A tiny CLIP with random weights is evaluated by ``tools/test.py``, and every
figure is computed once more the plain way: one image at a time, by Pillow,
open_clip's transform, torchvision and NumPy.
"""

import json
import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.runner import Runner
from open_clip.transform import image_transform
from PIL import Image
from torchvision.ops import box_iou, roi_align

from harmoclip_mm.apis import load_config
from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import MODELS

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
SIZE = 80  # of tiny_clip
CONFIGS = Path(__file__).parents[2] / 'configs/evaluation'


def read(name, **options):
    return load_config(str(CONFIGS / f'{name}.py'), options)


@pytest.fixture(scope='module')
def model(tmp_path_factory, tiny_clip):
    """A tiny CLIP, saved under ``path``; ``clip`` names it."""
    clip = tiny_clip()
    config = read('retrieval_coco5k', clip=clip)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    model.clip = clip
    model.path = tmp_path_factory.mktemp('clip') / 'tiny.pth'
    torch.save({'state_dict': model.state_dict()}, model.path)
    return model.eval()


@pytest.fixture
def evaluate(model, run_tool, tmp_path):
    """Run a config on the tiny CLIP; gives figures and predictions."""

    def run(name, *options, draw=True):
        out = tmp_path / name
        show = ['--show-dir', out / 'drawn'] if draw else []
        run_tool(
            'test.py', CONFIGS / f'{name}.py',
            model.path, '--work-dir', out / 'logs',
            '--metrics-out', out / 'metrics.json', '--out', out / 'out.pkl',
            *show,
            '--cfg-options', f'experiment_name={out.parent.name}_{name}',
            f'clip={model.clip}',
            'test_dataloader.num_workers=0',
            'test_dataloader.persistent_workers=False', *options,
        )  # fmt: skip
        assert bool(list((out / 'drawn').rglob('*.jpg'))) == draw
        predictions = pickle.loads((out / 'out.pkl').read_bytes())
        return json.loads((out / 'metrics.json').read_text()), predictions

    return run


def squashed(path) -> torch.Tensor:
    """(1, 3, 80, 80), normalised."""
    image = Image.open(path).convert('RGB').resize((SIZE, SIZE), Image.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    return ((pixels - MEAN) / STD)[None]


@torch.no_grad()
def region_features(model, path, boxes, normalise):
    """Features (N, D) of xyxy boxes in px of the image file."""
    width, height = Image.open(path).size
    boxes = torch.tensor(boxes) * torch.tensor(
        [SIZE / width, SIZE / height] * 2
    )
    dense = model.backbone.encode(squashed(path), with_pooled=False).dense
    if normalise:
        dense = dense / dense.norm(dim=1, keepdim=True)
    pooled = roi_align(dense, [boxes], 1, 1 / 10, -1, True).flatten(1)
    return pooled / pooled.norm(dim=1, keepdim=True)


def cut(path, folder) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / path.name).symlink_to(path)


def karpathy(coco_photos, folder_of_images, **extra) -> dict:
    """The photos' captions as Karpathy's files have them."""
    path = coco_photos / 'annotations/captions_val2017.json'
    content = json.loads(path.read_text())
    captions = defaultdict(list)
    for each in content['annotations']:
        captions[each['image_id']].append({'raw': each['caption']})
    images = []
    for number, image in enumerate(content['images']):
        images.append(
            {
                'filename': image['file_name'],
                'imgid': number,
                'split': 'test' if number < 9 else 'train',
                'sentences': captions[image['id']],
                **({'filepath': folder_of_images} if folder_of_images else {}),
            }
        )
    # a sixth caption is not part of the protocol
    images[0]['sentences'].append({'raw': 'one too many'})
    return {'images': images, **extra}


@pytest.mark.parametrize('name', ['coco5k', 'flickr30k'])
def test_retrieval(name, model, evaluate, coco_photos, tmp_path, monkeypatch):
    root = tmp_path / 'root'
    folder = {'coco5k': 'val2014', 'flickr30k': 'flickr30k-images'}[name]
    root.mkdir()
    (root / folder).symlink_to(coco_photos / 'val2017')
    kind = name.rstrip('5k') if name == 'coco5k' else name
    content = karpathy(coco_photos, folder if name == 'coco5k' else '')
    (root / f'dataset_{kind}.json').write_text(json.dumps(content))
    monkeypatch.setenv(f'{kind.upper()}_ROOT', str(root))
    figures, predictions = evaluate(f'retrieval_{name}', draw=name == 'coco5k')

    transform = image_transform(SIZE, False)  # open_clip's own
    images, texts = [], []
    for image in content['images'][:9]:
        path = root / folder / image['filename']
        images.append(transform(Image.open(path)))
        texts += [each['raw'] for each in image['sentences'][:5]]
    with torch.no_grad():
        images = model.encode_image(torch.stack(images))
        tokens = open_clip.tokenize(texts)
        texts = model.text_encoder(tokens).pooled
        texts = texts / texts.norm(dim=1, keepdim=True)
    assert len(predictions) == 9 and len(texts) == 45
    for image, sample in zip(images, predictions):
        assert (sample['image_embedding'] - image).abs().max() < 1e-5
    similarity = (images @ texts.t()).numpy()
    order = np.argsort(-similarity, axis=1)[:, :5] // 5
    i2t = (order == np.arange(9)[:, None]).any(1).mean()
    order = np.argsort(-similarity.T, axis=1)[:, :5]
    t2i = (order == np.arange(45)[:, None] // 5).any(1).mean()
    assert figures['retrieval/i2t_r5'] == pytest.approx(100 * i2t)
    assert figures['retrieval/t2i_r5'] == pytest.approx(100 * t2i)


def test_images_are_what_open_clip_makes_of_them(model, coco_photos):
    """To 1e-5, Pillow's decoding and bicubic filter included."""
    config = read('retrieval_coco5k', clip=model.clip)
    pipeline = config.test_dataloader.dataset.pipeline[:2]
    transform = Compose([dict(each) for each in pipeline])
    reference = image_transform(SIZE, False)
    for path in sorted((coco_photos / 'val2017').glob('*.jpg'))[:5]:
        image = transform({'img_path': str(path)})['img']
        inputs = torch.from_numpy(image.transpose(2, 0, 1).copy())
        batch = model.data_preprocessor({'inputs': [inputs]})['inputs'][0]
        assert (batch - reference(Image.open(path))).abs().max() < 1e-5


def test_imagenet(model, evaluate, coco_photos, tmp_path, monkeypatch):
    names = open_clip.IMAGENET_CLASSNAMES
    photos = sorted((coco_photos / 'val2017').glob('*.jpg'))[:6]
    transform = image_transform(SIZE, False)
    with torch.no_grad():
        prompts = [f'a photo of a {name}.' for name in names]
        texts = torch.cat(
            [
                model.text_encoder(open_clip.tokenize(chunk)).pooled
                for chunk in (prompts[:500], prompts[500:])
            ]
        )
        texts = texts / texts.norm(dim=1, keepdim=True)
        images = torch.stack([transform(Image.open(p)) for p in photos])
        order = (model.encode_image(images) @ texts.t()).argsort(
            dim=1, descending=True
        )
    # 1 photo has the best class, 2 the fourth best, 3 the last
    ranks = [0, 3, 3, 999, 999, 999]
    for label in range(1000):
        (tmp_path / f'val/n{label:08}').mkdir(parents=True)
    for path, row, rank in zip(photos, order, ranks):
        cut(path, tmp_path / f'val/n{int(row[rank]):08}')
    monkeypatch.setenv('IMAGENET_ROOT', str(tmp_path))
    figures, predictions = evaluate(
        'zero-shot_imagenet',
        'model.predictors.images.classifier.templates=simple',
    )
    assert figures['accuracy/top1'] == pytest.approx(100 / 6)
    assert figures['accuracy/top5'] == pytest.approx(300 / 6)
    scores = predictions[0]['pred_score']
    assert scores.shape == (1000,) and abs(float(scores.sum()) - 1) < 1e-5


def test_fgovd(model, evaluate, coco_photos, monkeypatch):
    file = coco_photos / 'fgovd/region_phrases.jsonl'
    monkeypatch.setenv('COCO_ROOT', str(coco_photos))
    monkeypatch.setenv('FGOVD_FILES', 'fgovd/region_phrases.jsonl')
    figures, predictions = evaluate('fgovd')

    sets = {'h': 'hard', 'm': 'medium', 'e': 'easy', 'shuffle': 'trivial'}
    ranks = defaultdict(list)
    for line in map(json.loads, file.read_text().splitlines()):
        x, y, w, h = line['bbox']
        region = region_features(
            model,
            coco_photos / line['img_path'],
            [[x, y, x + w, y + h]],
            False,
        )
        with torch.no_grad():
            texts = model.encode_text(
                line['pos_expression'] + line['neg_expression']
            )
        scores = (region @ texts.t())[0]
        ranks[sets[line['set']]].append(int((scores >= scores[0]).sum()))
    assert sum(map(len, ranks.values())) == 115
    for name, found in ranks.items():
        top1 = 100 * np.mean(np.array(found) == 1)
        assert figures[f'fgovd/{name}_top1'] == pytest.approx(top1)
        assert figures[f'fgovd/{name}_mean_rank'] == pytest.approx(
            np.mean(found)
        )
    assert len(predictions) == 16
    assert sum(len(p['pred_instances']['labels']) for p in predictions) == 115


@pytest.mark.parametrize('proposals', [False, True])
def test_referring_expressions(
    proposals, model, evaluate, coco_photos, tmp_path, monkeypatch
):
    instances = json.loads(
        (coco_photos / 'annotations/instances_val2017.json').read_text()
    )
    names = {each['id']: each['name'] for each in instances['categories']}
    boxes = defaultdict(list)
    for each in instances['annotations']:
        if not each['iscrowd']:
            boxes[each['image_id']].append(each)
    images, annotations, truths = [], [], []
    for image in instances['images'][:12]:
        for each in boxes[image['id']][:2]:
            images.append(
                {
                    'id': len(images),
                    'original_id': image['id'],
                    'file_name': image['file_name'],
                    'height': image['height'],
                    'width': image['width'],
                    'caption': f'the {names[each["category_id"]]} that is '
                    f'number {len(images)}',
                    'dataset_name': ('refcoco', 'refcoco+')[len(images) % 2],
                }
            )
            annotations.append(
                {
                    'id': len(annotations),
                    'image_id': len(annotations),
                    'bbox': each['bbox'],
                    'area': each['area'],
                    'iscrowd': 0,
                    'category_id': 1,
                    'tokens_positive': [[0, 3]],
                }
            )
            truths.append(each)
    (tmp_path / 'train2014').symlink_to(coco_photos / 'val2017')
    (tmp_path / 'expressions.json').write_text(
        json.dumps(
            {
                'images': images,
                'annotations': annotations,
                'categories': [{'id': 1, 'name': 'object'}],
            }
        )
    )
    candidates = coco_photos / 'annotations/instances_val2017.json'
    if proposals:  # the same boxes as a list of results
        candidates = tmp_path / 'proposals.json'
        listed = [b for rows in boxes.values() for b in rows]
        candidates.write_text(
            json.dumps(
                [
                    {'image_id': b['image_id'], 'bbox': b['bbox'], 'score': 1}
                    for b in listed
                ]
            )
        )
    monkeypatch.setenv('COCO_ROOT', str(tmp_path))
    monkeypatch.setenv('REFEXP_FILE', 'expressions.json')
    monkeypatch.setenv('REFEXP_BOXES', str(candidates))
    figures, _ = evaluate('ref-exp_refcoco', draw=not proposals)

    hits = defaultdict(list)
    for image, truth in zip(images, truths):
        rows = [b['bbox'] for b in boxes[truth['image_id']]]
        rows = [[x, y, x + w, y + h] for x, y, w, h in rows]
        regions = region_features(
            model, tmp_path / 'train2014' / image['file_name'], rows, True
        )
        with torch.no_grad():
            text = model.encode_text([image['caption']])
        order = (regions @ text.t())[:, 0].argsort(descending=True)
        x, y, w, h = truth['bbox']
        overlap = box_iou(
            torch.tensor(rows)[order], torch.tensor([[x, y, x + w, y + h]])
        )[:, 0]
        hits[image['dataset_name']].append(
            [bool((overlap[:k] >= 0.5).any()) for k in (1, 5, 10)]
        )
    for name, found in hits.items():
        for k, share in zip((1, 5, 10), np.mean(found, axis=0)):
            key = f'refexp/{name}_precision@{k}'
            assert figures[key] == pytest.approx(share), key
    assert 0 < np.mean(hits['refcoco'], axis=0)[1] < 1


def test_missing_files_say_where_they_come_from(
    tmp_path, monkeypatch, harmoclip_scope
):
    for name, key, message in (
        ('retrieval_coco5k', 'COCO_ROOT', 'karpathy/deepimagesent'),
        ('retrieval_flickr30k', 'FLICKR30K_ROOT', 'karpathy/deepimagesent'),
        ('fgovd', 'COCO_ROOT', 'lorebianchi98/FG-OVD'),
        ('ref-exp_refcoco', 'COCO_ROOT', 'COCO annotations'),
    ):
        monkeypatch.setenv(key, str(tmp_path))
        config = read(name)
        config.test_dataloader.update(num_workers=0, persistent_workers=False)
        with pytest.raises(DataError, match=message):
            Runner.build_dataloader(config.test_dataloader)
