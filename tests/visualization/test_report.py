"""The picture that compares methods."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from harmoclip_mm.visualization.drawing import RIGHT_COLOR, WRONG_COLOR
from harmoclip_mm.visualization.report import (
    BarPanel,
    Example,
    draw_example,
    draw_report,
    plot_bars,
    select_examples,
)

PANEL = BarPanel(
    'How many?',
    ['all', 'novel'],
    {'CLIP': [2.5, 0.25], 'HarmoCLIP': [48.04, 31.96]},
    [1.25, 5.0],
)


def _example(labels=(0, 1), **predictions):
    image = np.full((40, 40, 3), 128, np.uint8)
    boxes = np.array([[4, 20, 16, 36], [22, 20, 36, 36]], np.float32)
    predictions = {k: np.array(v) for k, v in predictions.items()}
    return Example(image, boxes, np.array(labels), predictions)


def test_bars_have_their_values():
    ax = Figure().add_subplot()
    plot_bars(ax, PANEL, top=60)
    grey, blue = ax.containers
    assert [bar.get_height() for bar in grey] == [2.5, 0.25]
    assert [bar.get_height() for bar in blue] == [48.04, 31.96]
    # Side by side around the place of their group, without overlap.
    for group in (0, 1):
        left, right = grey[group], blue[group]
        assert left.get_x() + left.get_width() <= right.get_x()
        middle = (left.get_x() + right.get_x() + right.get_width()) / 2
        assert middle == pytest.approx(group)
    assert ax.get_ylim() == (0, 60)
    _, names = ax.get_legend_handles_labels()
    assert names == ['CLIP', 'HarmoCLIP']


def test_bars_carry_their_figures_above_the_chance_level():
    ax = Figure().add_subplot()
    plot_bars(ax, PANEL, top=60)
    texts = {text.get_text(): text.xy for text in ax.texts}
    assert list(texts) == ['2.5', '0.2', '48.0', '32.0']
    assert texts['48.0'][1] == 48.04
    # 0.25 is below chance, 5: the figure stands above the dashed line.
    assert texts['0.2'][1] == 5.0
    (lines,) = ax.collections
    levels = [segment[:, 1].tolist() for segment in lines.get_segments()]
    assert levels == [[1.25, 1.25], [5.0, 5.0]]
    ticks = [tick.get_text() for tick in ax.get_xticklabels()]
    assert ticks == ['all\nchance 1.25 %', 'novel\nchance 5 %']


def test_bars_without_a_figure_are_refused():
    panel = BarPanel('', ['a', 'b'], {'CLIP': [1.0]}, [1.0, 1.0])
    with pytest.raises(ValueError, match='CLIP has 1 figures for 2 groups'):
        plot_bars(Figure().add_subplot(), panel, top=10)


def _count(picture, color):
    return int((picture == np.array(color)).all(-1).sum())


def test_right_and_wrong_have_their_colours():
    classes = ['', '']  # no tags: only the outlines have colours
    example = _example(good=[0, 1], half=[0, 0], bad=[1, 0])
    pictures = {
        name: draw_example(example, name, classes, side=80)
        for name in example.predictions
    }
    assert _count(pictures['good'], WRONG_COLOR) == 0
    assert _count(pictures['bad'], RIGHT_COLOR) == 0
    left, right = pictures['half'][:, :40], pictures['half'][:, 40:]
    assert _count(left, RIGHT_COLOR) > 0 and _count(left, WRONG_COLOR) == 0
    assert _count(right, WRONG_COLOR) > 0 and _count(right, RIGHT_COLOR) == 0


def test_wide_images_keep_their_ratio():
    image = np.zeros((20, 40, 3), np.uint8)
    example = Example(image, np.zeros((0, 4)), np.zeros(0, int), {'a': []})
    picture = draw_example(example, 'a', [], side=80)
    assert picture.shape == (80, 80, 3)
    dark = (picture == 0).all(-1)
    assert dark[20:60].all() and not dark[:20].any() and not dark[60:].any()


def test_report_shows_pictures_unscaled(tmp_path):
    path = tmp_path / 'new' / 'report.png'
    examples = [_example(CLIP=[1, 1], HarmoCLIP=[0, 1]) for _ in range(5)]
    classes = ('red star', 'blue ring')
    draw_report(
        path, 'Title', 'Subtitle', [PANEL, PANEL], examples, classes,
        'Images', starred=[1], note='Note',
    )  # fmt: skip
    picture = np.asarray(Image.open(path).convert('RGB'))
    # 84 + 5 x 324 + 4 x 22 + 34 px; 164 + 400 + 122 + 2 x (324 + 34) + 66
    assert picture.shape == (1468, 1826, 3)
    top, left = 164 + 400 + 122, 84
    for row, method in enumerate(('CLIP', 'HarmoCLIP')):
        drawn = draw_example(examples[0], method, classes, starred=[1])
        y, x = top + row * (324 + 34), left + 2 * (324 + 22)
        shown = picture[y : y + 324, x : x + 324]
        assert np.abs(shown.astype(int) - drawn.astype(int)).max() <= 1


def test_report_without_images(tmp_path):
    path = tmp_path / 'report.png'
    draw_report(path, 'Title', 'Subtitle', [PANEL], [], [])
    assert Image.open(path).size == (1826, 164 + 400 + 122 + 66)


def _records(tmp_path, predicted):
    """Images 3, 1, 2, 0, in this order, of one, two, no and one boxes."""
    truth = {3: [7], 1: [5, 7], 2: [], 0: [5]}
    records = []
    for img_id, labels in truth.items():
        path = tmp_path / f'{img_id}.png'
        Image.new('RGB', (8, 8), (img_id, 0, 0)).save(path)
        records.append(
            {
                'img_id': img_id,
                'img_path': str(path),
                'gt_instances': {
                    'bboxes': np.zeros((len(labels), 4)),
                    'labels': np.array(labels, int),
                },
                'pred_instances': {
                    'labels': np.full(len(labels), predicted, int)
                },
            }
        )
    return records


def test_examples_are_chosen_by_their_truth_alone(tmp_path):
    results = {'a': _records(tmp_path, 5), 'b': _records(tmp_path, 7)[::-1]}
    examples = select_examples(results, preferred=[7], count=3)
    # Those with class 7 by id, then the others that have boxes.
    assert [e.image[0, 0, 0] for e in examples] == [1, 3, 0]
    assert examples[0].labels.tolist() == [5, 7]
    assert examples[0].predictions['a'].tolist() == [5, 5]
    assert examples[0].predictions['b'].tolist() == [7, 7]
    assert len(select_examples(results, count=2)) == 2
    assert len(select_examples(results, count=9)) == 3


def test_examples_of_different_tests_are_refused(tmp_path):
    ours, theirs = _records(tmp_path, 5), _records(tmp_path, 5)
    with pytest.raises(ValueError, match='different images'):
        select_examples({'a': ours, 'b': theirs[1:]})
    theirs[1]['gt_instances']['labels'] = np.array([7, 5])
    with pytest.raises(ValueError, match='different boxes of image 1'):
        select_examples({'a': ours, 'b': theirs})
