"""Figures, table and picture of the comparison on shapes."""

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from harmoclip_mm.text import load_vocabulary
from harmoclip_mm.visualization import shapes_report

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
    with pytest.raises(KeyError) as error:
        shapes_report.collect_figures(metrics)
    assert error.value.args[0] == 'box_cls/novel_top1, retrieval/t2i_r1'


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


def test_picture_shows_bars_and_images(tmp_path, monkeypatch):
    shown = {}
    draw = shapes_report.draw_report

    def spy(path, title, subtitle, panels, examples, classes, *args, **kwargs):
        shown.update(panels=panels, examples=examples, **kwargs)
        draw(path, title, subtitle, panels, examples, classes, *args, **kwargs)

    monkeypatch.setattr(shapes_report, 'draw_report', spy)
    vocabulary = load_vocabulary('shapes80')
    novel = vocabulary.classes.index(vocabulary.groups['novel'][0])
    Image.new('RGB', (80, 80), (90, 90, 90)).save(tmp_path / '0.png')
    record = {
        'img_id': 1,
        'img_path': str(tmp_path / '0.png'),
        'gt_instances': {
            'bboxes': np.array([[8.0, 20.0, 60.0, 70.0]]),
            'labels': np.array([novel]),
        },
        'pred_instances': {'labels': np.array([novel])},
    }
    predictions = {'clip': [record], 'harmoclip': [record]}
    path = tmp_path / 'report.png'
    shapes_report.draw_shapes_report(_report(), predictions, path)
    assert Image.open(path).size == (1826, 1468)
    boxes, pairs = shown['panels']
    assert boxes.values['HarmoCLIP'] == [42.5, 44.0, 33.25]
    assert pairs.values['HarmoCLIP'] == [20.0, 0.0]
    assert boxes.values['CLIP'] == [2.0, 2.0, 2.0]
    assert pairs.chance == [0.1, 0.1]
    assert len(shown['starred']) == 12 and novel in shown['starred']
    assert len(shown['examples']) == 1
