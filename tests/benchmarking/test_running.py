"""One pass for several protocols: the figures of tools/test.py, and cost."""

import json
import shutil
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from optional_packages import needs_lvis

import harmoclip_mm
from harmoclip_mm.benchmarking import choose_protocols, results_file
from harmoclip_mm.benchmarking.running import Test
from harmoclip_mm.benchmarking.shared_images import (
    SharedImages,
    group_by_images,
)
from harmoclip_mm.models import ClassifyingPredictor

ROOT = Path(__file__).resolve().parents[2]
# of one input, of boxes and of segments; two of other images
SQUASHED = ['box-cls_fgclip_coco', 'box-cls_fineclip_coco-panoptic']
OTHERS = ['fgovd', 'retrieval_flickr30k']
LARGE = [
    'box-ap_ov-coco',
    'box-cls_clipself_coco-panoptic',
    'box-cls_clipself_coco-panoptic_masks',
]


@pytest.fixture
def count(request):
    """Count the images and texts that the towers of a model encode."""

    def start(model):
        counts = Counter()
        # ids (N, L) and images (N, 3, H, W)
        for name, module in (
            ('texts', model.text_encoder),
            ('images', model.backbone.visual.conv1),
        ):
            handle = module.register_forward_pre_hook(
                lambda _, args, name=name: counts.update({name: len(args[0])})
            )
            request.addfinalizer(handle.remove)
        return counts

    return start


def figures_of(rows):
    return {row['protocol']: row['figures'] for row in rows}


@pytest.mark.parametrize(
    'names',
    [
        [SQUASHED[0], *OTHERS],
        pytest.param([*SQUASHED, *LARGE], marks=pytest.mark.slow),
    ],
    ids=['some', 'more'],
)
def test_figures_are_those_of_the_test_tool(
    names, roots, make_model, run_tool, tmp_path, few_templates
):
    model = make_model(layers=1)
    rows = harmoclip_mm.benchmark(model, names, num_workers=0)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'tiny.pth')
    for name, figures in figures_of(rows).items():
        out = tmp_path / f'{name}.json'
        run_tool(
            'test.py', ROOT / f'configs/evaluation/{name}.py',
            tmp_path / 'tiny.pth', '--work-dir', tmp_path / 'work',
            '--metrics-out', out,
            '--cfg-options', f'clip={model.spec.name}',
            f'experiment_name={uuid.uuid4().hex}',
            'test_dataloader.num_workers=0',
            'test_dataloader.persistent_workers=False',
        )  # fmt: skip
        expected = json.loads(out.read_text())
        assert set(figures) == set(expected)
        for key, value in expected.items():
            assert figures[key] == pytest.approx(value, abs=1e-3), (name, key)


def test_images_of_one_input_are_encoded_once(
    roots, make_model, count, few_templates
):
    model = make_model(layers=1)
    names, limit = [*SQUASHED, *LARGE, *OTHERS], 6
    counts = count(model)
    rows = harmoclip_mm.benchmark(model, names, limit=limit, num_workers=0)
    groups = {frozenset([r['protocol'], *r['together_with']]) for r in rows}
    assert {frozenset(LARGE), frozenset(SQUASHED)} < groups
    # as many as the dearest protocol of each group has alone
    assert counts['images'] == limit * len(groups)
    # class names once for all: 65 and 133 classes in templates of ViLD, the
    # latter for boxes, masks and another input; 80 classes in OpenAI's
    prompts = few_templates * (65 + 133 + 80)
    together = counts['texts']
    counts.clear()
    harmoclip_mm.benchmark(model, OTHERS, limit=limit, num_workers=0)
    assert together == prompts + counts['texts']


@pytest.mark.slow
def test_all_protocols_cost_little_more_than_the_dearest(
    roots, make_model, count, few_templates
):
    """In images that the tower encodes, on the photos at hand; crops are
    other images."""
    names = [
        each.name
        for each in choose_protocols('full')
        if not each.missing() and 'crops' not in each.name
    ]
    model = make_model(layers=1)
    counts = count(model)
    rows = harmoclip_mm.benchmark(model, names, limit=9, num_workers=0)
    groups = {frozenset([r['protocol'], *r['together_with']]) for r in rows}
    images = {row['protocol']: row['images'] for row in rows}
    dearest = sum(max(images[each] for each in group) for group in groups)
    assert counts['images'] <= 1.3 * dearest < sum(images.values()) / 2


def test_inputs_of_a_group_are_equal(roots, make_model):
    """Pixel by pixel, whichever protocol prepares them."""
    model = make_model()
    clip = model.spec.name
    tests = [Test(each, clip) for each in choose_protocols(SQUASHED)]
    assert tests[0].input == tests[1].input
    for number in (0, 5):
        first, second = (test.dataset[number] for test in tests)
        assert (
            first['data_samples'].img_path == second['data_samples'].img_path
        )
        assert torch.equal(first['inputs'], second['inputs'])
    shared = SharedImages({test.protocol.name: test.dataset for test in tests})
    image, samples = shared[5]
    assert torch.equal(image, first['inputs'])
    assert [name for name, *_ in samples] == SQUASHED


OWN_PROTOCOL = """
_base_ = '{base}'
model = dict(predictors=dict(boxes=dict(classifier=dict(templates='none'))))
test_dataloader = dict(dataset=dict(pipeline=[
    *_base_.load_regions,
    *{steps},
    _base_.squash,
    dict(type='PackRegionTextInputs'),
]))
"""


def test_other_steps_make_other_inputs(roots, make_model, tmp_path):
    """Of one photo and its mirror image neither may stand for the other."""
    base = ROOT / 'configs/evaluation/box-cls_fgclip_coco.py'
    flip = [dict(type='mmdet.RandomFlip', prob=1.0)]
    paths = []
    for name, steps in (('plain', []), ('flipped', flip)):
        path = tmp_path / f'{name}.py'
        path.write_text(OWN_PROTOCOL.format(base=base, steps=steps))
        paths.append(str(path))
    model = make_model()
    tests = [Test(each, model.spec.name) for each in choose_protocols(paths)]
    images = [test.dataset[0]['inputs'] for test in tests]
    assert not torch.equal(*images)
    assert tests[0].input != tests[1].input


@pytest.mark.parametrize(
    'setting', ["backbone=dict(dense_mode='token')", 'data_preprocessor={}']
)
def test_towers_are_those_of_the_checkpoint(
    setting, roots, make_model, tmp_path
):
    """Other settings of a protocol are not passed over in silence."""
    path = tmp_path / 'own.py'
    base = ROOT / 'configs/evaluation/box-cls_fgclip_coco.py'
    path.write_text(f"_base_ = '{base}'\nmodel = dict({setting})")
    (row,) = harmoclip_mm.benchmark(make_model(), [str(path)])
    key = setting.split('=')[0]
    assert row['skipped'].startswith(f'{path} sets model.{key}')
    assert 'tools/test.py' in row['skipped']


def test_maps_of_segments_are_data(roots, tmp_path, monkeypatch, tiny_clip):
    root = Path(roots['COCO_ROOT'])
    (tmp_path / 'val2017').symlink_to(root / 'val2017')
    shutil.copytree(root / 'annotations', tmp_path / 'annotations')
    monkeypatch.setenv('COCO_ROOT', str(tmp_path))
    hashes = []
    for _ in range(2):
        (protocol,) = choose_protocols(['box-cls_clipself_coco-panoptic'])
        hashes.append(Test(protocol, tiny_clip()).data_hash)
        path = min((tmp_path / 'annotations/panoptic_val2017').iterdir())
        path.write_bytes(path.read_bytes() + b'changed')
    assert hashes[0] != hashes[1]


def test_groups():
    images = dict(a=['1', '2'], b=['3'], c=['2', '3'], d=['2'], e=['9'])
    inputs = dict(a='x', b='x', c='x', d='y', e='x')
    groups = group_by_images(images, inputs)
    assert sorted(map(sorted, groups)) == [['a', 'b', 'c'], ['d'], ['e']]


def test_average_precision_of_a_part_counts_that_part(
    roots, make_model, monkeypatch, few_templates
):
    """Boxes that all get their class: 1, though most images are left out."""
    class_logits = ClassifyingPredictor.class_logits

    def told(self, rows, samples, *args):
        found = class_logits(self, rows, samples, *args)
        for sample, each in zip(samples, found):
            labels = sample.gt_instances.labels
            each[range(len(labels)), labels] += 50
        return found

    monkeypatch.setattr(ClassifyingPredictor, 'class_logits', told)
    (row,) = harmoclip_mm.benchmark(
        make_model(), ['box-cls_fgclip_coco'], limit=3, num_workers=0
    )
    assert row['samples'] == 3
    assert row['figures']['box_cls/top1'] == 100
    # crowds and what overlaps them are judged by COCO in its own way
    assert row['figures']['coco/bbox_mAP'] > 0.8


@pytest.mark.slow
def test_figures_are_made_of_what_is_drawn(
    roots, make_model, tmp_path, monkeypatch, few_templates
):
    """Each image once in place of draws."""
    monkeypatch.setattr(
        results_file,
        'bootstrap',
        lambda each: each.figures(np.ones((1, each.num_images))),
    )
    names = [*SQUASHED, *OTHERS, 'box-ap_ov-coco', 'region-retrieval_coco']
    rows = harmoclip_mm.benchmark(
        make_model(layers=1), names, out=str(tmp_path), limit=9, num_workers=2
    )
    results = harmoclip_mm.benchmarking.Results(str(tmp_path))
    for row, protocol in zip(rows, choose_protocols(names)):
        drawn, figures = results.draws(row), row['figures']
        assert set(drawn) == set(protocol.figures.values()) & set(figures)
        values = protocol.headline(figures)
        for heading, key in protocol.figures.items():
            if key in drawn:
                assert drawn[key] == pytest.approx([values[heading]]), key


@pytest.mark.slow
def test_two_processes(roots, make_model, run_apart, tmp_path):
    model = make_model()
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'tiny.pth')
    names = [SQUASHED[0], *OTHERS]
    one = figures_of(
        harmoclip_mm.benchmark(model, names, limit=9, num_workers=0)
    )
    run_apart(
        'benchmark.py', tmp_path / 'tiny.pth', '--clip', model.spec.name,
        '--suite', ','.join(names), '--limit', 9, '--num-workers', 0,
        '--out', tmp_path, ranks=2, **roots,
    )  # fmt: skip
    text = (tmp_path / 'results.jsonl').read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    two = figures_of(rows)
    assert set(one) == set(two) == set(names)
    assert [row['processes'] for row in rows] == [2] * 3
    for name, figures in one.items():
        for key, value in figures.items():
            # of batches of other images: rounding may decide an answer
            assert two[name][key] == pytest.approx(value, abs=3), (name, key)


@pytest.mark.parametrize(
    ('name', 'known', 'unknown'),
    [
        ('box-ap_ov-coco', 'ov_coco/base_ap50', 'ov_coco/novel_ap50'),
        pytest.param(
            *('box-cls_lvis', 'lvis/bbox_AP', 'lvis/bbox_APr'),
            marks=needs_lvis,
        ),
    ],
)
def test_classes_without_a_box_have_no_figure(
    name, known, unknown, roots, make_model, tmp_path, few_templates
):
    """The first photo has none of a novel class, nor of a rare one."""
    (row,) = harmoclip_mm.benchmark(
        make_model(layers=1), name, limit=1, num_workers=0, out=str(tmp_path)
    )
    assert row['figures'][known] >= 0 and row['figures'][unknown] is None


def test_no_detection_at_all(roots, make_model, monkeypatch, tmp_path):
    """As of images without a box: mmdet has no figure, and the rest runs."""
    root = Path(roots['COCO_ROOT'])
    (tmp_path / 'val2017').symlink_to(root / 'val2017')
    (tmp_path / 'annotations').mkdir()
    name = 'annotations/instances_val2017.json'
    content = json.loads((root / name).read_text())
    first = min(each['id'] for each in content['images'])
    content['annotations'] = [
        each for each in content['annotations'] if each['image_id'] != first
    ]
    content['images'].sort(key=lambda image: image['id'])
    (tmp_path / name).write_text(json.dumps(content))
    monkeypatch.setenv('COCO_ROOT', str(tmp_path))
    names = ['box-ap_ov-coco', 'box-cls_fgclip_coco']
    rows = harmoclip_mm.benchmark(make_model(), names, limit=1, num_workers=0)
    assert rows[0]['figures'] == {}
    assert 'ground-truth box' in rows[1]['skipped']
