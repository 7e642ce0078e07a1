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
)

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
            'captions': ['a dog and a cat'],
            'phrases': ['dog', 'cat'],
            'tokens_positive': [[[2, 5]], [[12, 15]]],
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
    unknown = visualizer.draw_predictions(*args)
    assert has(unknown, PALETTE[0]) and has(unknown, PALETTE[1])


def test_best_classes_are_listed_beside_the_picture(visualizer, sample):
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
    assert picture.shape[0] == 500 and picture.shape[1] > 600
    beside = picture[:, 600:]
    assert has(beside, RIGHT_COLOR) and has(beside, WRONG_COLOR)
    visualizer.topk = 1
    visualizer.add_datasample('a', IMAGE, sample)
    # the true class of the second box, in second place, is not told now
    assert not np.array_equal(visualizer.get_image()[:, 600:], beside)


def test_many_boxes_have_only_numbers(visualizer):
    args = (IMAGE, BOXES, [0, 1], [0.9, 0.4], ['dog', 'cat'], [0, 0])
    named = visualizer.draw_predictions(*args)[:, :600]
    visualizer.max_tags = 1
    numbered = visualizer.draw_predictions(*args)[:, :600]
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
    )
    visualizer.add_datasample('a', IMAGE, sample)
    assert has(visualizer.get_image(), RIGHT_COLOR)
    assert has(visualizer.get_image(), WRONG_COLOR)
    visualizer.add_datasample('a', IMAGE, sample, pred_score_thr=0.5)
    assert not has(visualizer.get_image(), WRONG_COLOR)


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
