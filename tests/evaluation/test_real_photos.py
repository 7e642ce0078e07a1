"""``tools/test.py`` on real photos: independence and cross-checks.

A tiny model of random weights: its figures are those of chance, but every
step from the file to the figure is the real one.
"""

import contextlib
import io
import json
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from figure_bounds import COSINE, SCORE, box_bounds, retrieval_bounds
from mmengine.registry import init_default_scope

from harmoclip_mm.apis import load_config
from harmoclip_mm.errors import UsageError
from harmoclip_mm.evaluation.functional import retrieval_ranks
from harmoclip_mm.registry import MODELS

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = """
_base_ = {base!r}
model = dict(
    predictors=dict(boxes=dict(classifier=dict(templates='simple')))
)
test_dataloader = dict(
    _delete_=True,
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmdet.CocoDataset',
        return_classes=True,
        data_root={root!r},
        ann_file={ann_file!r},
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=[
            *_base_.test_pipeline[:3],
            dict(
                type='LoadCaptions',
                ann_file={root!r} + '/annotations/captions_val2017.json',
                max_captions=5,
            ),
            *_base_.test_pipeline[4:],
        ],
    ),
)
test_evaluator = [
    dict(type='BoxClassificationMetric'),
    dict(type='ImageTextRetrievalMetric'),
    dict(type='mmdet.CocoMetric', ann_file={ann_file!r}, metric='bbox'),
]
"""


@pytest.fixture(scope='module')
def project(coco_photos, tmp_path_factory):
    """A config, weights, and annotations of which one image has no box."""
    folder = tmp_path_factory.mktemp('photos')
    source = coco_photos / 'annotations' / 'instances_val2017.json'
    content = json.loads(source.read_text())
    bare = content['images'][3]['id']
    content['annotations'] = [
        each for each in content['annotations'] if each['image_id'] != bare
    ]
    ann_file = folder / 'instances.json'
    ann_file.write_text(json.dumps(content))
    text = CONFIG.format(
        base=str(REPOSITORY / 'configs' / 'harmoclip_tiny_photos.py'),
        root=str(coco_photos),
        ann_file=str(ann_file),
    )
    (folder / 'config.py').write_text(text)
    init_default_scope('harmoclip_mm')
    torch.manual_seed(0)
    model = MODELS.build(load_config(str(folder / 'config.py')).model)
    model.init_weights()
    torch.save({'state_dict': model.state_dict()}, folder / 'weights.pth')
    return folder


def _command(project, name, *options):
    return [
        project / 'config.py', project / 'weights.pth',
        '--work-dir', project / name,
        '--out', project / f'{name}.pkl',
        '--metrics-out', project / f'{name}.json',
        *(('--cfg-options', *options) if options else ()),
    ]  # fmt: skip


def _read(project, name):
    metrics = json.loads((project / f'{name}.json').read_text())
    return metrics, mmengine.load(str(project / f'{name}.pkl'))


@pytest.fixture(scope='module')
def reference(project, run_tool):
    """Metrics and records at batch size 1."""
    run_tool(
        'test.py', *_command(project, 'one', 'test_dataloader.batch_size=1')
    )
    return _read(project, 'one')


def _embeddings(records):
    """Image embeddings, text embeddings and the image of each text."""
    images = np.stack([r['image_embedding'].numpy() for r in records])
    texts = [r['text_embeddings'].numpy() for r in records]
    owner = np.repeat(np.arange(len(records)), [len(t) for t in texts])
    return images, np.concatenate(texts), owner


def _boxes(records):
    pairs = [(r['gt_instances'], r['pred_instances']) for r in records]
    filled = [(gt, pred) for gt, pred in pairs if len(gt['labels'])]
    return (
        np.concatenate([gt['labels'].numpy() for gt, _ in filled]),
        np.concatenate([pred['topk_labels'].numpy() for _, pred in filled]),
        np.concatenate([pred['topk_scores'].numpy() for _, pred in filled]),
    )


def _check_same(found, reference):
    """The same figures, but for answers that rounding decides."""
    (metrics, records), (expected, expected_records) = found, reference
    ids = [record['img_id'] for record in expected_records]
    assert [record['img_id'] for record in records] == ids
    embeddings = _embeddings(expected_records)
    for ours, theirs in zip(_embeddings(records), embeddings):
        np.testing.assert_allclose(ours, theirs, atol=COSINE)
    labels, _, scores = _boxes(records)
    expected_labels, _, expected_scores = _boxes(expected_records)
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_allclose(scores, expected_scores, rtol=SCORE)
    bounds = _bounds(expected_records)
    for key in expected:
        if key in bounds:
            low, high = bounds[key]
            assert low - 1e-9 <= metrics[key] <= high + 1e-9, key
        else:  # AP
            assert metrics[key] == pytest.approx(expected[key], abs=2e-3)


def _bounds(records):
    groups = records[0]['run']['groups']
    boxes = box_bounds(*_boxes(records), groups)
    retrieval = retrieval_bounds(*_embeddings(records))
    return {
        **{f'box_cls/{key}': value for key, value in boxes.items()},
        **{f'retrieval/{key}': value for key, value in retrieval.items()},
    }


def test_rounding_decides_next_to_nothing(reference):
    """Or the independence below would mean little."""
    metrics, records = reference
    bounds = _bounds(records)
    others = {key for key in metrics if not key.startswith('coco/')}
    assert set(bounds) == others and len(bounds) == 18
    decided = [key for key, (low, high) in bounds.items() if low == high]
    assert len(decided) > 12, bounds
    for key in decided:
        assert metrics[key] == pytest.approx(bounds[key][0]), key


def test_one_image_has_no_box_and_the_last_batch_is_uneven(reference):
    metrics, records = reference
    assert len(records) % 2 and len(records) % 7
    assert sum(not len(r['gt_instances']['labels']) for r in records) == 1
    assert 0 < metrics['box_cls/top5'] < 100


@pytest.mark.parametrize(('batch_size', 'workers'), [(7, 0), (2, 2)])
def test_batch_size_and_workers(
    project, reference, run_tool, batch_size, workers
):
    name = f'b{batch_size}w{workers}'
    run_tool(
        'test.py',
        *_command(
            project, name,
            f'test_dataloader.batch_size={batch_size}',
            f'test_dataloader.num_workers={workers}',
        ),
    )  # fmt: skip
    _check_same(_read(project, name), reference)


def test_two_processes(project, reference, run_apart):
    run_apart('test.py', *_command(project, 'two'), ranks=2)
    _check_same(_read(project, 'two'), reference)


def test_accuracies_from_the_file_alone(reference):
    metrics, records = reference
    right = {}
    for record in records:
        gt, pred = record['gt_instances'], record['pred_instances']
        rows = zip(
            gt['labels'].tolist(),
            pred['topk_labels'].tolist(),
            pred['topk_scores'].tolist(),
        )
        for label, classes, scores in rows:
            rank = 99
            if label in classes:
                own = scores[classes.index(label)]
                rank = sum(score >= own for score in scores)
            right.setdefault(label, []).append(rank)
    ranks = np.concatenate([np.array(r) for r in right.values()])
    for k in (1, 5):
        micro = 100 * np.mean(ranks <= k)
        macro = 100 * np.mean(
            [np.mean(np.array(r) <= k) for r in right.values()]
        )
        assert metrics[f'box_cls/top{k}'] == pytest.approx(micro)
        assert metrics[f'box_cls/macro_top{k}'] == pytest.approx(macro)


def test_recall_from_the_file_alone(reference):
    metrics, records = reference
    images, texts, owner = _embeddings(records)
    similarity = images.astype(np.float64) @ texts.astype(np.float64).T
    similarity = similarity.astype(np.float32)
    for k in (1, 5, 10):
        best = np.argsort(-similarity, axis=1, kind='stable')[:, :k]
        hits = (owner[best] == np.arange(len(images))[:, None]).any(axis=1)
        assert metrics[f'retrieval/i2t_r{k}'] == pytest.approx(
            100 * hits.mean()
        )
        best = np.argsort(-similarity, axis=0, kind='stable')[:k]
        hits = (best == owner[None]).any(axis=0)
        assert metrics[f'retrieval/t2i_r{k}'] == pytest.approx(
            100 * hits.mean()
        )


def test_recall_of_the_first_captions_equals_open_clip(reference):
    train = pytest.importorskip('open_clip_train.train')
    images, texts, owner = _embeddings(reference[1])
    texts = texts[np.searchsorted(owner, np.arange(len(images)))]
    expected = train.get_clip_metrics(
        torch.from_numpy(images), torch.from_numpy(texts), torch.tensor(1.0)
    )
    found = retrieval_ranks(images, texts, np.arange(len(images)))
    for key, name in (('i2t', 'image_to_text'), ('t2i', 'text_to_image')):
        for k in (1, 5, 10):
            assert (found[key][1] <= k).mean() == pytest.approx(
                expected[f'{name}_R@{k}']
            )


def test_average_precision_equals_pycocotools(project, reference):
    coco = pytest.importorskip('pycocotools.coco')
    cocoeval = pytest.importorskip('pycocotools.cocoeval')
    metrics, records = reference
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(project / 'instances.json'))
        ids = truth.getCatIds()
        found = []
        for record in records:
            pred = record['pred_instances']
            for box, label, score in zip(
                pred['bboxes'].tolist(), pred['labels'], pred['scores']
            ):
                x1, y1, x2, y2 = box
                found.append(
                    dict(
                        image_id=record['img_id'],
                        category_id=ids[label],
                        bbox=[x1, y1, x2 - x1, y2 - y1],
                        score=float(score),
                    )
                )
        evaluation = cocoeval.COCOeval(truth, truth.loadRes(found), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert metrics['coco/bbox_mAP'] == pytest.approx(
        evaluation.stats[0], abs=5.1e-4
    )
    assert metrics['coco/bbox_mAP_50'] == pytest.approx(
        evaluation.stats[1], abs=5.1e-4
    )


def test_the_file_says_which_run_it_is_of(project, reference):
    _, records = reference
    run = records[0]['run']
    assert run['checkpoint'] == str(project / 'weights.pth')
    assert len(run['classes']) == 80


def test_mixed_precision(project, reference, run_tool):
    run_tool('test.py', *_command(project, 'amp'), '--amp')
    images, *_ = _embeddings(_read(project, 'amp')[1])
    difference = np.abs(images - _embeddings(reference[1])[0]).max()
    # bfloat16 has 8 bits, so it differs, and not by much
    assert 10 * COSINE < difference < 0.05


def test_an_empty_ground_truth(project, run_tool):
    content = json.loads((project / 'instances.json').read_text())
    content['annotations'] = []
    (project / 'empty.json').write_text(json.dumps(content))
    with pytest.raises(
        UsageError, match='none of the 2 images has a ground-truth box'
    ):
        run_tool(
            'test.py',
            *_command(
                project,
                'empty',
                f'test_dataloader.dataset.ann_file={project}/empty.json',
                'test_dataloader.dataset.indices=2',
            ),
        )
