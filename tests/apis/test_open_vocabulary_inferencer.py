"""mmdet's inferencer with a vocabulary that can be replaced."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from harmoclip_mm.apis import OpenVocabularyInferencer
from harmoclip_mm.errors import CheckpointError, DataError, UsageError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'configs/ov_detection/fvit_tiny_1xb8-600i_photos.py')
WORDS = ['bus', 'person', 'pink elephant']


@pytest.fixture(scope='module')
def inferencer(tiny_detector) -> OpenVocabularyInferencer:
    return OpenVocabularyInferencer(
        CONFIG, str(tiny_detector), device='cpu', show_progress=False
    )


def test_predictions_name_the_classes_of_the_training(tiny_detector):
    detect = OpenVocabularyInferencer(
        CONFIG, str(tiny_detector), device='cpu', show_progress=False
    )
    classes = detect.visualizer.dataset_meta['classes']
    assert len(classes) == 57 and 'fire hydrant' in classes
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    (found,) = detect(picture, no_save_vis=True)['predictions']
    assert found['labels'] and max(found['labels']) < 57


def test_predictions_name_the_words(inferencer):
    inferencer.set_vocabulary(WORDS)
    assert inferencer.visualizer.dataset_meta['classes'] == tuple(WORDS)
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    (found,) = inferencer(picture, no_save_vis=True)['predictions']
    assert found['labels'] and set(found['labels']) <= {0, 1, 2}


def test_pictures_keep_their_size_and_words_are_no_formulas(inferencer):
    inferencer.set_vocabulary(['a $5 hat', 'costs $x_1$', '$'])
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    result = inferencer(
        picture, no_save_vis=True, return_vis=True, pred_score_thr=0.0
    )
    (drawn,) = result['visualization']
    assert drawn.shape == picture.shape and (drawn != picture).any()


def test_an_image_that_cannot_be_used_is_named(inferencer, tmp_path):
    for name, content in (('empty.jpg', b''), ('text.png', b'no image')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f'{name} is no image that can be'):
            inferencer(str(tmp_path / name), no_save_vis=True)
    thin = np.zeros((1, 3000, 3), np.uint8)
    with pytest.raises(DataError, match='an array is no image that can be'):
        inferencer(thin, no_save_vis=True)


def test_a_vocabulary_by_name_and_what_is_none(inferencer):
    inferencer.set_vocabulary('coco80')
    assert inferencer.model.roi_head.bbox_head.num_classes == 80
    with pytest.raises(UsageError, match='Duplicate'):
        inferencer.set_vocabulary(['a dog', 'a dog'])
    with pytest.raises(UsageError, match='neither a file nor'):
        inferencer.set_vocabulary('no_such_vocabulary')


def test_another_checkpoint_is_an_error(tiny_detector, tmp_path):
    state = torch.load(tiny_detector, weights_only=True)
    state['state_dict'].pop('rpn_head.rpn_reg.weight')
    torch.save(state, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'rpn_head\.rpn_reg\.weight'):
        OpenVocabularyInferencer(
            CONFIG, str(tmp_path / 'other.pth'), device='cpu'
        )


def test_a_model_of_fixed_classes_is_an_error(tmp_path):
    config = tmp_path / 'fixed.py'
    config.write_text(
        "_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'\n"
        'model = dict(backbone=dict(depth=18, init_cfg=None), '
        'neck=dict(in_channels=[64, 128, 256, 512]))\n'
    )
    init_default_scope('mmdet')
    model = MODELS.build(Config.fromfile(config).model)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'fixed.pth')
    with pytest.raises(UsageError, match='FasterRCNN, whose classes are'):
        OpenVocabularyInferencer(
            str(config), str(tmp_path / 'fixed.pth'), device='cpu'
        )
