"""The demo, on made pictures with a tiny detector."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from harmoclip_mm.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'configs/ov_detection/fvit_tiny_1xb8-600i_photos.py')
DEMO = '../demo/open_vocabulary_demo.py'
WORDS = ['bus', 'person', 'pink elephant']


@pytest.fixture(scope='module')
def pictures(tmp_path_factory) -> Path:
    """Folder of pictures."""
    root = tmp_path_factory.mktemp('demo')
    for number in range(3):
        pixels = np.full((80, 80, 3), 60 * number, np.uint8)
        cv2.imwrite(str(root / f'{number}.jpg'), pixels)
    return root


def labels_of(file: Path) -> dict:
    return json.loads(file.read_text())


def test_a_picture_with_words_of_the_command_line(
    pictures, tiny_detector, run_tool, tmp_path, capfd
):
    picture = min(pictures.glob('*.jpg'))
    run_tool(
        DEMO, picture, CONFIG, tiny_detector, '--texts', *WORDS,
        '--out-dir', tmp_path, '--score-thr', 0, '--device', 'cpu',
    )  # fmt: skip
    drawn = cv2.imread(str(tmp_path / 'vis' / picture.name))
    original = cv2.imread(str(picture))
    assert drawn.shape == original.shape and (drawn != original).any()
    found = labels_of(tmp_path / 'preds' / f'{picture.stem}.json')
    assert found['bboxes'] and set(found['labels']) <= {0, 1, 2}
    assert 'WARNING' not in ''.join(capfd.readouterr())


def test_a_folder_in_batches(pictures, tiny_detector, run_tool, tmp_path):
    run_tool(
        DEMO, pictures, CONFIG, tiny_detector,
        '--batch-size', 2, '--out-dir', tmp_path, '--device', 'cpu',
        '--no-save-pred',
    )  # fmt: skip
    assert len(list((tmp_path / 'vis').iterdir())) == 3
    assert not (tmp_path / 'preds').exists()


def test_a_video(tiny_detector, run_tool, tmp_path):
    colors = (200, 40, 20), (30, 180, 60), (10, 60, 220)  # B, G, R
    source = str(tmp_path / 'made.mp4')
    writer = cv2.VideoWriter(
        source, cv2.VideoWriter_fourcc(*'mp4v'), 5, (80, 80)
    )
    for color in colors:
        writer.write(np.full((80, 80, 3), color, np.uint8))
    writer.release()
    run_tool(
        DEMO, source, CONFIG, tiny_detector, '--texts', *WORDS,
        '--batch-size', 2, '--out-dir', tmp_path / 'out', '--device', 'cpu',
        '--score-thr', 0.9,
    )  # fmt: skip
    written = cv2.VideoCapture(str(tmp_path / 'out' / 'made.mp4'))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert written.get(cv2.CAP_PROP_FPS) == 5
    for color in colors:  # which stay as they were
        frame = written.read()[1]
        assert np.median(frame, (0, 1)) == pytest.approx(color, abs=12)
    run_tool(
        DEMO, source, CONFIG, tiny_detector, '--out-dir', tmp_path / 'all',
        '--device', 'cpu', '--score-thr', 0,
    )  # fmt: skip
    drawn = cv2.VideoCapture(str(tmp_path / 'all' / 'made.mp4')).read()[1]
    assert abs(drawn.astype(int) - colors[0]).max() > 50


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
