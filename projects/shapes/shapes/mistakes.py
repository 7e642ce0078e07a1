"""What a model says of novel boxes that it gets wrong."""

from typing import Any, Mapping, Sequence

import numpy as np

# Kinds of answers to a novel box, in the order of the counts.
KINDS = (
    'right',
    'right colour, wrong shape',
    'wrong colour, right shape',
    'both wrong',
)


def count_mistakes(
    samples: Sequence[Any], metainfo: Mapping[str, Any]
) -> np.ndarray:
    """Count the answers to novel boxes by kind.

    Args:
        samples (Sequence[DetDataSample]): With ``gt_instances.labels`` and
            ``pred_instances.labels``.
        metainfo (Mapping): With ``classes`` (colour and shape) and
            ``novel_classes``.

    Returns:
        np.ndarray: Boxes of each of ``KINDS``, int (4,).
    """
    classes = [name.rsplit(' ', 1) for name in metainfo['classes']]
    novel = set(metainfo['novel_classes'])
    counts = np.zeros(len(KINDS), dtype=int)
    for sample in samples:
        truth = sample.gt_instances.labels.tolist()
        said = sample.pred_instances.labels.tolist()
        for true, found in zip(truth, said):
            if metainfo['classes'][true] in novel:
                same = [a == b for a, b in zip(classes[true], classes[found])]
                counts[2 * (not same[0]) + (not same[1])] += 1
    return counts
