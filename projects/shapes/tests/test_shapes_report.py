"""Figures, table and picture of the comparison on shapes."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from harmoclip_mm.errors import UsageError
from harmoclip_mm.text import load_vocabulary
from harmoclip_mm.visualization.drawing import RIGHT_COLOR, WRONG_COLOR
from shapes import report as shapes_report
from shapes.scenes import VOCABULARY

METRICS = {
    'box_cls/top1': 42.5,
    'box_cls/top5': 80.0,
    'box_cls/base_top1': 44.0,
    'box_cls/novel_top1': 33.25,
    'retrieval/i2t_r1': 20.0,
    'retrieval/t2i_r1': 0.0,
}


def _report():
    figures = shapes_report.collect_figures(METRICS)
    return {
        'clip': {**dict.fromkeys(figures, 2.0), 'train_seconds': 100.0},
        'harmoclip': {**figures, 'train_seconds': 150.4},
        'settings': {
            'steps': 748,
            'batch_size': 64,
            'image_size': 80,
            'images': {'test': 1000},
            'seed': 0,
        },
    }


def test_figures_are_the_right_metrics():
    assert shapes_report.collect_figures(METRICS) == {
        'box_top1': 42.5,
        'box_top1_base': 44.0,
        'box_top1_novel': 33.25,
        'retrieval_i2t_r1': 20.0,
        'retrieval_t2i_r1': 0.0,
    }


def test_missing_and_undefined_figures_are_named():
    metrics = {**METRICS, 'box_cls/novel_top1': None}
    del metrics['retrieval/t2i_r1']
    with pytest.raises(UsageError, match='novel_top1, retrieval/t2i_r1'):
        shapes_report.collect_figures(metrics)


def test_chance_levels():
    chance = shapes_report.chance_levels(250)
    assert chance['box_top1'] == chance['box_top1_novel'] == 1.25
    assert chance['retrieval_i2t_r1'] == chance['retrieval_t2i_r1'] == 0.4


def test_table():
    console = Console(file=io.StringIO(), width=90)
    console.print(shapes_report.make_table(_report()))
    lines = console.file.getvalue().splitlines()
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
        for cells in (line.split('│') for line in lines)
        if len(cells) == 7
    }
    assert rows == {
        'Box Top-1, all': ['1.25', '2.00', '42.50', '+40.50'],
        'Box Top-1, base': ['1.25', '2.00', '44.00', '+42.00'],
        'Box Top-1, novel': ['1.25', '2.00', '33.25', '+31.25'],
        'Image to text R@1': ['0.10', '2.00', '20.00', '+18.00'],
        'Text to image R@1': ['0.10', '2.00', '0.00', '-2.00'],
        'Training time': ['', '1:40 min', '2:30 min', 'x 1.50'],
    }


def test_bars_have_their_values():
    axes = Figure().add_subplot()
    groups = {'box_top1': 'all', 'retrieval_t2i_r1': 'texts'}
    shapes_report.plot_bars(axes, _report(), groups)
    grey, blue, *_ = axes.containers
    assert [bar.get_height() for bar in grey] == [2.0, 2.0]
    assert [bar.get_height() for bar in blue] == [42.5, 0.0]
    # Side by side around the place of their group, without overlap.
    for place, left, right in zip((0, 1), grey, blue):
        assert left.get_x() + left.get_width() <= right.get_x()
        middle = (left.get_x() + right.get_x() + right.get_width()) / 2
        assert middle == pytest.approx(place)
    assert axes.get_legend_handles_labels()[1] == ['CLIP', 'HarmoCLIP']
    # figures stand above the level of guessing, 1.25 and 0.1
    heights = [(text.get_text(), text.xy[1]) for text in axes.texts]
    assert heights == [
        *(('2.0', 2.0), ('2.0', 2.0), ('42.5', 42.5), ('0.0', 0.1))
    ]
    levels = [
        line[:, 1].tolist() for line in axes.collections[0].get_segments()
    ]
    assert levels == [[1.25, 1.25], [0.1, 0.1]]
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert ticks == ['all\nchance 1.25 %', 'texts\nchance 0.1 %']


def _records(folder, predicted, labels=((3, [7]), (1, [5, 7]), (2, []))):
    """Images of the given ids and classes, grey."""
    records = []
    for img_id, truth in labels:
        path = folder / f'{img_id}.png'
        Image.new('RGB', (40, 40), (90, 90, 90)).save(path)
        boxes = [[4, 20, 16, 36], [22, 20, 36, 36]][: len(truth)]
        records.append(
            {
                'img_id': img_id,
                'img_path': str(path),
                'gt_instances': {'bboxes': boxes, 'labels': np.array(truth)},
                'pred_instances': {
                    'labels': np.full(len(truth), predicted, int)
                },
            }
        )
    return records


def test_examples_are_chosen_by_their_truth_alone(tmp_path):
    truth = ((3, [7]), (1, [5, 7]), (2, []), (0, [5]))
    results = {'a': _records(tmp_path, 5, truth)}
    results['b'] = _records(tmp_path, 7, truth)[::-1]
    examples = shapes_report.select_examples(results, preferred=[7], count=3)
    # Those with class 7 by id, then the others that have boxes.
    assert [each['a']['img_id'] for each in examples] == [1, 3, 0]
    for each in examples:
        assert each['a']['img_id'] == each['b']['img_id']
    assert examples[0]['a']['pred_instances']['labels'].tolist() == [5, 5]
    assert examples[0]['b']['pred_instances']['labels'].tolist() == [7, 7]
    assert len(shapes_report.select_examples(results, [7], count=9)) == 3


def test_right_and_wrong_have_their_colours(tmp_path):
    (record,) = _records(tmp_path, 5, [(0, [5, 7])])
    vocabulary = load_vocabulary(VOCABULARY)
    picture = shapes_report.draw_example(record, vocabulary, side=400)
    assert picture.shape == (400, 400, 3)
    left, right = picture[210:350, :190], picture[210:350, 210:]
    for part, color, other in (
        (left, RIGHT_COLOR, WRONG_COLOR),
        (right, WRONG_COLOR, RIGHT_COLOR),
    ):
        assert (part == color).all(-1).any()
        assert not (part == other).all(-1).any()


def test_picture_shows_bars_and_images(tmp_path):
    vocabulary = load_vocabulary(VOCABULARY)
    novel = vocabulary.classes.index(vocabulary.groups['novel'][0])
    records = _records(tmp_path, novel, [(0, [novel]), (1, [])])
    predictions = {'clip': records, 'harmoclip': records}
    path = tmp_path / 'new' / 'report.png'
    shapes_report.draw_shapes_report(_report(), predictions, path)
    picture = np.asarray(Image.open(path))
    for color in (*shapes_report.COLORS.values(), RIGHT_COLOR, (90, 90, 90)):
        assert (picture == color).all(-1).any()
