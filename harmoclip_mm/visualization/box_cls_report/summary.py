"""What the page tells, as arrays."""

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from harmoclip_mm.errors import UsageError
from harmoclip_mm.evaluation.functional import (
    COCO_AREAS,
    FINE_SIDES,
    ConfusedPairs,
    ReliabilityBins,
    box_areas,
    box_classification_accuracy,
    confused_pairs,
    count_hits,
    count_hits_by_area,
    expected_calibration_error,
    main_confusion,
    reliability_bins,
)
from harmoclip_mm.text import Vocabulary

__all__ = [
    'BoxClsSummary',
    'BoxPredictions',
    'class_rows',
    'collect',
    'summarise',
]


@dataclass
class BoxPredictions:
    """All boxes of a results file.

    Attributes:
        paths (List[str]): Files of the I images, '' where unknown.
        image_ids (List[Any]): Their ids.
        images (np.ndarray): Image of each box, (N,) in [0, I).
        bboxes (np.ndarray): (N, 4) xyxy in px of the original image.
        labels (np.ndarray): True classes, (N,).
        topk_labels (np.ndarray): Predicted classes, best first, (N, K).
        scores (np.ndarray): Probability of the best, (N,) in [0, 1].
    """

    paths: List[str]
    image_ids: List[Any]
    images: np.ndarray
    bboxes: np.ndarray
    labels: np.ndarray
    topk_labels: np.ndarray
    scores: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether the best class is the true one, (N,) bool."""
        return self.topk_labels[:, 0] == self.labels


@dataclass
class BoxClsSummary:
    """Figures of the page; C classes, T values of k.

    Attributes:
        vocabulary (Vocabulary): The classes and their groups.
        topk (Tuple[int, ...]): The k of the accuracies.
        accuracy (Dict[str, float]): Of :func:`box_classification_accuracy`.
        hits (np.ndarray): Hits of each class, (C, T).
        counts (np.ndarray): Boxes of each class, (C,).
        pairs (ConfusedPairs): All confusions, the most frequent first.
        taken_for (np.ndarray): Most frequent wrong class, (C,), or -1.
        taken_counts (np.ndarray): How often, (C,).
        bins (ReliabilityBins): Predictions by probability.
        ece (float): Expected calibration error in [0, 1].
        mce (float): Maximum calibration error in [0, 1].
        coco_sizes (List[tuple]): (name, lower end, upper end, hits, boxes)
            of COCO's ranges, ends in px^2.
        fine_sizes (List[tuple]): The same in finer steps, ends in px of a
            square's side; empty steps before the first and after the last
            box are left out.
        worst (List[Tuple[int, np.ndarray]]): The worst classes, each with
            its wrongly classified boxes, the surest mistake first.
        min_boxes (int): Boxes a class needs to be among them.
    """

    vocabulary: Vocabulary
    topk: Tuple[int, ...]
    accuracy: Dict[str, float]
    hits: np.ndarray
    counts: np.ndarray
    pairs: ConfusedPairs
    taken_for: np.ndarray
    taken_counts: np.ndarray
    bins: ReliabilityBins
    ece: float
    mce: float
    coco_sizes: List[tuple]
    fine_sizes: List[tuple]
    worst: List[Tuple[int, np.ndarray]]
    min_boxes: int


def collect(records: Sequence[Mapping[str, Any]]) -> BoxPredictions:
    """Put the boxes of all images below each other.

    Of classes of equal probability the true one comes last, so that a tie is
    never right by luck.

    Args:
        records (Sequence[dict]): Of :func:`load_results`.

    Returns:
        BoxPredictions: The boxes.

    Raises:
        UsageError: If there is no box at all.
    """
    filled = [
        (i, record)
        for i, record in enumerate(records)
        if len(record['gt_instances']['labels'])
    ]
    if not filled:
        raise UsageError(
            f'none of the {len(records)} images of the results has a box'
        )
    ranked = []
    for _, record in filled:
        pred = record['pred_instances']
        ranked.append(pred.get('topk_labels', pred['labels'][:, None]))
    width = min(labels.shape[1] for labels in ranked)

    def stack(group: str, key: str) -> np.ndarray:
        return np.concatenate([record[group][key] for _, record in filled])

    labels = stack('gt_instances', 'labels').astype(np.int64)
    topk_labels = np.concatenate([each[:, :width] for each in ranked])
    if all('topk_scores' in record['pred_instances'] for _, record in filled):
        scores = [
            record['pred_instances']['topk_scores'] for _, record in filled
        ]
        scores = np.concatenate([each[:, :width] for each in scores])
        keys = (topk_labels == labels[:, None], -scores)
        order = np.lexsort(keys, axis=-1)
        topk_labels = np.take_along_axis(topk_labels, order, axis=1)
    sizes = [len(each) for each in ranked]
    return BoxPredictions(
        [str(record.get('img_path') or '') for record in records],
        [record.get('img_id', i) for i, record in enumerate(records)],
        np.repeat([i for i, _ in filled], sizes),
        stack('gt_instances', 'bboxes').astype(np.float64),
        labels,
        topk_labels.astype(np.int64),
        stack('pred_instances', 'scores').astype(np.float64),
    )


def summarise(
    boxes: BoxPredictions,
    vocabulary: Vocabulary,
    num_bins: int = 15,
    num_worst: int = 8,
    min_boxes: int = 5,
) -> BoxClsSummary:
    """Compute the figures of the page.

    Args:
        boxes (BoxPredictions): The boxes.
        vocabulary (Vocabulary): The classes that were scored.
        num_bins (int): Bins of the reliability diagram. Defaults to 15.
        num_worst (int): Number of worst classes. Defaults to 8.
        min_boxes (int): Classes of fewer boxes are not among the worst,
            unless all classes have fewer. Defaults to 5.

    Returns:
        BoxClsSummary: The figures.

    Raises:
        UsageError: If a label is not in the vocabulary.
    """
    total = len(vocabulary)
    highest = max(boxes.labels.max(), boxes.topk_labels.max())
    if highest >= total or boxes.labels.min() < 0:
        raise UsageError(
            f'the results hold class {highest}, but there are only {total} '
            'classes (0 to '
            f'{total - 1}): name the classes the results were made with'
        )
    width = boxes.topk_labels.shape[1]
    topk = (1, 5) if width >= min(5, total) and total > 1 else (1,)
    correct = boxes.correct
    hits, counts = count_hits(boxes.topk_labels, boxes.labels, total, topk)
    pairs = confused_pairs(boxes.topk_labels[:, 0], boxes.labels, total)
    taken_for, taken_counts = main_confusion(pairs, total)
    bins = reliability_bins(boxes.scores, correct, num_bins)
    ece, mce = expected_calibration_error(bins)
    areas = box_areas(boxes.bboxes)
    coco, fine = _sizes(areas, correct)
    min_boxes = min(min_boxes, counts.max())
    return BoxClsSummary(
        vocabulary,
        topk,
        box_classification_accuracy(
            *(boxes.topk_labels, boxes.labels, total),
            *(vocabulary.group_indices(), topk),
        ),
        *(hits, counts, pairs, taken_for, taken_counts, bins, ece, mce),
        *(coco, fine),
        _worst(boxes, hits[:, 0], counts, num_worst, min_boxes),
        int(min_boxes),
    )


def _sizes(areas: np.ndarray, correct: np.ndarray) -> Tuple[list, list]:
    """Hits and boxes by COCO's ranges and by finer ones."""
    ends = list(COCO_AREAS.values())
    hits, counts = count_hits_by_area(areas, correct, [a for a, _ in ends])
    coco = [
        (name, *end, int(h), int(n))
        for name, end, h, n in zip(COCO_AREAS, ends, hits, counts)
    ]
    sides = [*FINE_SIDES, float('inf')]
    hits, counts = count_hits_by_area(areas, correct, np.square(sides[:-1]))
    filled = np.flatnonzero(counts)
    fine = [
        ('', sides[i], sides[i + 1], int(hits[i]), int(counts[i]))
        for i in range(filled[0], filled[-1] + 1)
    ]
    return coco, fine


def _worst(
    boxes: BoxPredictions,
    hits: np.ndarray,
    counts: np.ndarray,
    num_worst: int,
    min_boxes: int,
) -> List[Tuple[int, np.ndarray]]:
    """Classes of lowest Top-1, those of more boxes first where equal."""
    share = hits / np.maximum(counts, 1)
    classes = np.flatnonzero((counts >= min_boxes) & (hits < counts))
    order = np.lexsort((classes, -counts[classes], share[classes]))
    worst = []
    for label in classes[order][:num_worst]:
        wrong = np.flatnonzero((boxes.labels == label) & ~boxes.correct)
        surest = np.argsort(-boxes.scores[wrong], kind='stable')
        worst.append((int(label), wrong[surest]))
    return worst


def class_rows(summary: BoxClsSummary) -> Tuple[List[str], List[list]]:
    """Figures of every class with a box for a table of the terminal.

    Args:
        summary (BoxClsSummary): The figures.

    Returns:
        tuple[list[str], list[list]]: Header and rows, the lowest Top-1
        first; accuracies in percent.
    """
    names = summary.vocabulary.classes
    header = ['class', 'boxes', *(f'top{k}' for k in summary.topk)]
    rows = []
    for label in np.flatnonzero(summary.counts):
        count, other = int(summary.counts[label]), summary.taken_for[label]
        shares = (100 * summary.hits[label] / count).tolist()
        often = f'{names[other]} ({summary.taken_counts[label]})'
        rows.append(
            [names[label], count, *shares, often if other >= 0 else '']
        )
    rows.sort(key=lambda row: (row[2], -row[1]))
    return [*header, 'most often taken for'], rows
