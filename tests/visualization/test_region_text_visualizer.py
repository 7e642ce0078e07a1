import mmcv
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from harmoclip_mm.registry import VISUALIZERS
from harmoclip_mm.visualization import RegionTextVisualizer
from harmoclip_mm.visualization.drawing import (
    PALETTE,
    RIGHT_COLOR,
    WRONG_COLOR,
    load_font,
)
from harmoclip_mm.visualization.region_text_visualizer import _percent

IMAGE = np.full((100, 120, 3), 90, dtype=np.uint8)
BOXES = [[5.0, 5.0, 60.0, 60.0], [70.0, 20.0, 110.0, 90.0]]


def has(image, color):
    return (image == color).all(2).any()


@pytest.fixture
def visualizer(harmoclip_scope, request):
    return VISUALIZERS.build(
        {'type': 'RegionTextVisualizer', 'name': request.node.name}
    )


@pytest.fixture
def sample():
    data_sample = DetDataSample(
        metainfo={
            'text': 'a dog and a cat',
            'phrases': {
                0: {'phrase': 'dog', 'tokens_positive': [[2, 5]]},
                1: {'phrase': 'cat', 'tokens_positive': [[12, 15]]},
            },
        }
    )
    data_sample.gt_instances = InstanceData(
        bboxes=torch.tensor(BOXES), labels=torch.tensor([0, 1])
    )
    return data_sample


def test_regions_and_caption_share_colours(visualizer):
    picture = visualizer.draw_region_text(
        IMAGE,
        BOXES,
        [0, 1],
        ['dog', 'cat'],
        'a dog and a cat',
        [[[2, 5]], [[12, 15]]],
    )
    height = 500  # enlarged by 5 to reach about 480
    assert picture.shape[1] == 600 and picture.shape[0] > height
    for color in PALETTE[:2]:
        assert has(picture[:height], color) and has(picture[height:], color)
    assert not has(picture, PALETTE[2])


def test_colours_follow_the_phrases_in_use(visualizer):
    names = [str(i) for i in range(30)]
    picture = visualizer.draw_region_text(IMAGE, BOXES, [19, 29], names)
    assert has(picture, PALETTE[0]) and has(picture, PALETTE[1])
    assert picture.shape == (500, 600, 3)  # without a caption


def test_predictions_are_right_or_wrong(visualizer):
    classes = ['dog', 'cat']
    args = (IMAGE, BOXES, [0, 1], [0.9, 0.4], classes)
    right = visualizer.draw_predictions(*args, gt_labels=[0, 1])
    assert has(right, RIGHT_COLOR) and not has(right, WRONG_COLOR)
    half = visualizer.draw_predictions(*args, gt_labels=[0, 0])
    assert has(half, RIGHT_COLOR) and has(half, WRONG_COLOR)
    assert right.shape[0] > 500  # below it they are listed
    unknown = visualizer.draw_predictions(*args)
    assert unknown.shape == (500, 600, 3)  # the tags say it all
    assert has(unknown, PALETTE[0]) and has(unknown, PALETTE[1])


def test_best_classes_are_listed_below_the_picture(visualizer, sample):
    visualizer.dataset_meta = {'classes': ('dog', 'cat', 'cow', 'owl')}
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(BOXES),
        labels=torch.tensor([0, 0]),
        scores=torch.tensor([0.9, 0.4]),
        topk_labels=torch.tensor([[0, 2, 3, 1], [0, 1, 2, 3]]),
        topk_scores=torch.tensor(
            [[0.9, 0.06, 0.03, 0.01], [0.4, 0.3, 0.2, 0.1]]
        ),
    )
    visualizer.add_datasample('a', IMAGE, sample)
    picture = visualizer.get_image()
    assert picture.shape[0] > 500 and picture.shape[1] == 600
    below = picture[500:]
    assert has(below, RIGHT_COLOR) and has(below, WRONG_COLOR)
    visualizer.topk = 1
    visualizer.add_datasample('a', IMAGE, sample)
    # the true class of the second box, in second place, is not told now
    assert not np.array_equal(visualizer.get_image()[500:], below)


def test_many_boxes_have_only_numbers(visualizer):
    args = (IMAGE, BOXES, [0, 1], [0.9, 0.4], ['dog', 'cat'], [0, 0])
    named = visualizer.draw_predictions(*args)[:500]
    visualizer.max_tags = 1
    numbered = visualizer.draw_predictions(*args)[:500]
    for color in (RIGHT_COLOR, WRONG_COLOR):
        more, less = ((p == color).all(2).sum() for p in (named, numbered))
        assert more > less > 0


def test_predictions_of_no_box(visualizer):
    picture = visualizer.draw_predictions(IMAGE, [], [], [], ['dog'], [])
    assert picture.shape == (500, 600, 3)


def test_add_datasample_draws_annotations_then_predictions(
    visualizer, sample, tmp_path
):
    out_file = tmp_path / 'folder' / 'gt.png'
    visualizer.add_datasample('a', IMAGE, sample, out_file=str(out_file))
    saved = mmcv.imread(str(out_file), channel_order='rgb')
    assert np.array_equal(saved, visualizer.get_image())
    assert has(saved, PALETTE[0]) and saved.shape[0] > 500

    visualizer.dataset_meta = {'classes': ('dog', 'cat')}
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(BOXES),
        labels=torch.tensor([0, 0]),
        scores=torch.tensor([0.9, 0.4]),
        topk_labels=torch.tensor([[0, 1], [0, 1]]),
    )
    visualizer.add_datasample('a', IMAGE, sample)
    assert has(visualizer.get_image(), RIGHT_COLOR)
    assert has(visualizer.get_image(), WRONG_COLOR)
    visualizer.add_datasample('a', IMAGE, sample, pred_score_thr=0.5)
    assert not has(visualizer.get_image(), WRONG_COLOR)


def test_a_detectors_own_boxes_are_not_judged(visualizer, sample):
    """Although they are as many as the annotated ones."""
    visualizer.dataset_meta = {'classes': ('dog', 'cat')}
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(BOXES),
        labels=torch.tensor([0, 0]),
        scores=torch.tensor([0.9, 0.4]),
    )
    visualizer.add_datasample('a', IMAGE, sample)
    for color in (RIGHT_COLOR, WRONG_COLOR):
        assert not has(visualizer.get_image(), color)


def test_texts_of_a_box_are_judged_and_told_whole(visualizer, sample):
    """As FG-OVD's: expressions differ at their ends."""
    long = 'a very long expression ' * 4
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(BOXES),
        labels=torch.tensor([0, 0]),
        scores=torch.tensor([0.9, 0.4]),
        candidate_logits=torch.zeros(2, 2),
    )
    pictures = []
    for end in ('b', 'c'):
        texts = [f'{long}a', f'{long}{end}']
        phrases = {i: {'phrase': text} for i, text in enumerate(texts)}
        sample.set_metainfo({'phrases': phrases})
        visualizer.add_datasample('a', IMAGE, sample)
        pictures.append(visualizer.get_image())
    assert has(pictures[0], RIGHT_COLOR) and has(pictures[0], WRONG_COLOR)
    assert not np.array_equal(pictures[0][500:], pictures[1][500:])


def test_boxes_without_an_answer_are_drawn_with_their_phrases(
    visualizer, sample
):
    """As those that phrases search: predicted boxes are in px of the image,
    those of the ground truth in px of the network input."""
    visualizer.add_datasample('a', IMAGE, sample)
    expected = visualizer.get_image()
    sample.gt_instances.bboxes = torch.tensor(BOXES) * 7
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(BOXES), embeddings=torch.zeros(2, 4)
    )
    visualizer.add_datasample('a', IMAGE, sample)
    assert np.array_equal(visualizer.get_image(), expected)


def test_the_list_is_not_higher_than_the_picture(visualizer):
    args = (IMAGE, BOXES * 20, [0, 1] * 20, [0.9, 0.4] * 20, ['dog', 'cat'])
    picture = visualizer.draw_predictions(*args, gt_labels=[0, 0] * 20)
    assert 600 < picture.shape[0] <= 2 * 500 + 50
    # it begins with the wrong ones, and has room for these alone
    assert has(picture[500:560], WRONG_COLOR)
    all_right = visualizer.draw_predictions(*args, gt_labels=[0, 1] * 20)
    assert has(all_right[500:], RIGHT_COLOR)


def test_captions_with_line_feeds_and_formulas(visualizer):
    """COCO has such captions, and libraries choke on them."""
    args = (IMAGE, BOXES[:1], [0], ['$x_1$\ndog'])
    caption = 'a $x_1$\ndog and more\n'
    picture = visualizer.draw_region_text(*args, caption, [[[2, 11]]])
    one_row = visualizer.draw_region_text(*args, 'a dog', [[[2, 5]]])
    assert picture.shape[0] > one_row.shape[0] > 500
    assert has(picture[500:], PALETTE[0])
    # a phrase outside the caption, and a caption that is absent
    for caption, spans in (('a cat', [None]), ('', [None])):
        below = visualizer.draw_region_text(*args, caption, spans)[500:]
        assert has(below, PALETTE[0]) and len(below) > len(one_row) - 500


def test_percent():
    shown = [_percent(score) for score in (0.0, 0.004, 0.006, 0.625, 1.0)]
    assert shown == ['0 %', '< 1 %', '1 %', '62 %', '100 %']


def test_signs_are_in_the_font():
    absent = load_font(20).getmask('\uffff')
    for sign in '\N{CHECK MARK}\N{BALLOT X}':
        assert bytes(load_font(20).getmask(sign)) != bytes(absent)


def test_large_pictures_stay(visualizer):
    photo = np.zeros((480, 640, 3), dtype=np.uint8)
    assert visualizer.draw_predictions(photo, [], [], [], []) is photo


def test_names_may_be_missing_and_boxes_too(visualizer, sample):
    bare = DetDataSample(gt_instances=sample.gt_instances)
    visualizer.add_datasample('a', IMAGE, bare)
    assert has(visualizer.get_image(), PALETTE[1])
    empty = DetDataSample(
        gt_instances=InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()
        )
    )
    visualizer.add_datasample('a', IMAGE, empty)
    assert not has(visualizer.get_image(), PALETTE[0])


def test_it_is_an_mmdet_visualizer():
    from mmdet.visualization import DetLocalVisualizer

    assert issubclass(RegionTextVisualizer, DetLocalVisualizer)
