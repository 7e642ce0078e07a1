"""The demo, on drawn shapes with a tiny detector."""

import json
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.runner import save_checkpoint

from harmoclip_mm.apis import OpenVocabularyInferencer, load_config
from harmoclip_mm.errors import CheckpointError, UsageError
from harmoclip_mm.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'configs/ov_detection/fvit_tiny_shapes.py')
DEMO = '../demo/open_vocabulary_demo.py'
WORDS = ['red star', 'blue ring', 'pink elephant']


@pytest.fixture(scope='module')
def detector(tmp_path_factory, run_tool) -> Path:
    """A checkpoint of random weights, and pictures, in one folder."""
    root = tmp_path_factory.mktemp('demo')
    run_tool(
        'dataset_converters/shapes.py', root / 'shapes', '--train', 0,
        '--val', 0, '--test', 3, '--workers', 1,
    )  # fmt: skip
    config = load_config(CONFIG)
    config.model.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    model.prepare_vocabulary()
    save_checkpoint(
        {'state_dict': model.state_dict()}, str(root / 'detector.pth')
    )
    return root


def labels_of(file: Path) -> dict:
    return json.loads(file.read_text())


def test_a_picture_with_words_of_the_command_line(
    detector, run_tool, tmp_path
):
    (picture, *_) = sorted((detector / 'shapes/test').glob('*.jpg'))
    run_tool(
        DEMO, picture, CONFIG, detector / 'detector.pth', '--texts', *WORDS,
        '--out-dir', tmp_path, '--score-thr', 0, '--device', 'cpu',
    )  # fmt: skip
    drawn = cv2.imread(str(tmp_path / 'vis' / picture.name))
    original = cv2.imread(str(picture))
    assert drawn.shape == original.shape and (drawn != original).any()
    found = labels_of(tmp_path / 'preds' / f'{picture.stem}.json')
    assert found['bboxes'] and set(found['labels']) <= {0, 1, 2}


def test_a_folder_in_batches(detector, run_tool, tmp_path):
    run_tool(
        DEMO, detector / 'shapes/test', CONFIG, detector / 'detector.pth',
        '--batch-size', 2, '--out-dir', tmp_path, '--device', 'cpu',
        '--no-save-pred',
    )  # fmt: skip
    assert len(list((tmp_path / 'vis').iterdir())) == 3
    assert not (tmp_path / 'preds').exists()


def test_a_video(detector, run_tool, tmp_path):
    pictures = sorted((detector / 'shapes/test').glob('*.jpg'))
    source = str(tmp_path / 'shapes.mp4')
    writer = cv2.VideoWriter(
        source, cv2.VideoWriter_fourcc(*'mp4v'), 5, (80, 80)
    )
    for picture in pictures:
        writer.write(cv2.imread(str(picture)))
    writer.release()
    run_tool(
        DEMO, source, CONFIG, detector / 'detector.pth', '--texts', *WORDS,
        '--batch-size', 2, '--out-dir', tmp_path / 'out', '--device', 'cpu',
        '--score-thr', 0,
    )  # fmt: skip
    written = cv2.VideoCapture(str(tmp_path / 'out' / 'shapes.mp4'))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert written.get(cv2.CAP_PROP_FPS) == 5
    frame = written.read()[1]
    assert abs(frame.astype(int) - cv2.imread(str(pictures[0]))).max() > 50


def test_predictions_name_the_words(detector):
    (picture, *_) = sorted((detector / 'shapes/test').glob('*.jpg'))
    inferencer = OpenVocabularyInferencer(
        CONFIG, str(detector / 'detector.pth'), device='cpu'
    )
    inferencer.set_vocabulary(WORDS)
    record = inferencer.model.memory.read()
    assert record.classes == tuple(WORDS)
    # what was in the training stays base
    assert inferencer.model.memory.is_novel.tolist() == [True, False, True]
    assert inferencer.visualizer.dataset_meta['classes'] == tuple(WORDS)
    (found,) = inferencer(str(picture), no_save_vis=True)['predictions']
    assert set(found['labels']) <= {0, 1, 2}


def test_another_checkpoint_is_an_error(detector, tmp_path):
    state = torch.load(detector / 'detector.pth', weights_only=True)
    state['state_dict'].pop('rpn_head.rpn_reg.weight')
    torch.save(state, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'rpn_head\.rpn_reg\.weight'):
        OpenVocabularyInferencer(
            CONFIG, str(tmp_path / 'other.pth'), device='cpu'
        )


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['absent.jpg', CONFIG, 'x.pth'], 'absent.jpg does not exist'),
        ([str(ROOT), CONFIG, 'x.pth'], 'checkpoint x.pth does not exist'),
    ],
)
def test_errors_are_sentences(arguments, words, run_tool):
    with pytest.raises(UsageError, match=words):
        run_tool(DEMO, *arguments)
