"""A results file small enough to work out by hand."""

import numpy as np
import pytest
from PIL import Image

CLASSES = ('cat', 'dog', 'a <b> & "c"', 'never', 'sure')
RUN = {'classes': CLASSES, 'groups': {'animals': (0, 1), 'none': (3,)}}


def record(image, path, boxes, labels, topk_labels, topk_scores):
    """One image as load_results gives it."""
    return {
        'img_id': image,
        'img_path': str(path),
        'run': RUN,
        'gt_instances': {
            'bboxes': np.array(boxes, dtype=np.float32).reshape(-1, 4),
            'labels': np.array(labels, dtype=np.int64),
        },
        'pred_instances': {
            'labels': np.array([row[0] for row in topk_labels], dtype=int),
            'scores': np.array([row[0] for row in topk_scores]),
            'topk_labels': np.array(topk_labels, dtype=int).reshape(-1, 5),
            'topk_scores': np.array(topk_scores).reshape(-1, 5),
        },
    }


@pytest.fixture
def records(tmp_path):
    """Three images, the second without boxes; the third's file is lost.

    ====  =======  ========  =====  ==========
    box   true     best      score  side in px
    ====  =======  ========  =====  ==========
    0     cat      cat       0.9    10
    1     cat      dog       0.8    40
    2     cat      dog       0.6    100
    3     dog      a <b>...  0.4    10
    4     sure     sure      1.0    10
    ====  =======  ========  =====  ==========
    """
    path = tmp_path / 'first.png'
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3))
    Image.fromarray(noise.astype(np.uint8)).save(path)

    def square(side):
        return [5, 5, 5 + side, 5 + side]

    def rest(best):
        return [best / 10**n for n in range(5)]

    return [
        record(
            'one', path, [square(10), square(40), square(100)], [0, 0, 0],
            [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [1, 2, 0, 3, 4]],
            [rest(0.9), rest(0.8), rest(0.6)],
        ),
        record('two', path, [], [], [], []),
        record(
            'three', tmp_path / 'lost.png', [square(10), square(10)], [1, 4],
            [[2, 1, 0, 3, 4], [4, 1, 2, 3, 0]], [rest(0.4), rest(1.0)],
        ),
    ]  # fmt: skip
