"""What the page tells, as numbers."""

from dataclasses import dataclass
from typing import Any, List, Mapping, Sequence, Tuple

import numpy as np

from harmoclip_mm.errors import UsageError
from harmoclip_mm.evaluation.functional import (
    COCO_AREAS,
    FINE_SIDES,
    ReliabilityBins,
    box_areas,
    box_classification_accuracy,
    confused_pairs,
    count_hits,
    count_hits_by_area,
    expected_calibration_error,
    main_confusion,
    reliability_bins,
    wilson_interval,
)

__all__ = ['BoxClsFigures', 'ClassFigures', 'Share']


@dataclass
class Share:
    """Boxes of a kind and how many of them got their class.

    Attributes:
        name (str): The kind.
        hits (int): Boxes that got their class.
        boxes (int): All boxes of the kind.
    """

    name: str
    hits: int
    boxes: int

    @property
    def share(self) -> float:
        """Top-1 in [0, 1]; NaN without boxes."""
        return self.hits / self.boxes if self.boxes else float('nan')

    @property
    def interval(self) -> Tuple[float, float]:
        """95 % interval of the share (Wilson); NaN without boxes."""
        low, high = wilson_interval(self.hits, self.boxes)
        return float(low), float(high)


@dataclass
class ClassFigures(Share):
    """A class that has boxes.

    Attributes:
        groups (str): Names of its groups.
        shares (List[float]): Its accuracies for each k, in [0, 1].
        taken_for (str): The wrong class it is most often called, '' if none.
        taken (int): How often.
    """

    groups: str
    shares: List[float]
    taken_for: str
    taken: int


class BoxClsFigures:
    """Figures about the N boxes of a results file.

    Of classes of equal probability the true one comes last, so that a tie is
    never right by luck.

    Args:
        records (Sequence[dict]): Of :func:`load_results`, which name their
            classes under ``run``.

    Attributes:
        records (List[dict]): Those of images that have boxes.
        num_images (int): All images.
        names (Tuple[str, ...]): The classes that were scored.
        images (np.ndarray): Record of each box, (N,).
        bboxes (np.ndarray): (N, 4) xyxy in px of the original image.
        labels (np.ndarray): True classes, (N,).
        best (np.ndarray): Predicted classes, (N,).
        scores (np.ndarray): Their probabilities, (N,) in [0, 1].
        topk (Tuple[int, ...]): The k of the accuracies.
        accuracy (Dict[str, float]): Of :func:`box_classification_accuracy`.
        classes (Dict[int, ClassFigures]): The classes with boxes.

    Raises:
        UsageError: If there is no box at all, or a label is none of the
            classes.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        filled = [r for r in records if len(r['gt_instances']['labels'])]
        if not filled:
            raise UsageError(
                f'none of the {len(records)} images of the results has a box'
            )
        self.records, self.num_images = filled, len(records)
        self.names = tuple(records[0]['run']['classes'])
        truths = [record['gt_instances'] for record in filled]
        preds = [record['pred_instances'] for record in filled]
        sizes = [len(truth['labels']) for truth in truths]
        self.images = np.repeat(np.arange(len(filled)), sizes)
        self.bboxes = np.concatenate([t['bboxes'] for t in truths])
        self.labels = np.concatenate([t['labels'] for t in truths]).astype(int)
        self.scores = np.concatenate([p['scores'] for p in preds]).astype(
            float
        )
        topk_labels = self._ranked(preds)
        total = len(self.names)
        highest = max(self.labels.max(), topk_labels.max())
        if highest >= total or self.labels.min() < 0:
            raise UsageError(
                f'the results hold class {highest}, but there are only '
                f'{total} classes (0 to {total - 1}): make them anew with '
                'tools/test.py --out'
            )
        self.best = topk_labels[:, 0]
        self.correct = self.best == self.labels
        enough = topk_labels.shape[1] >= min(5, total) and total > 1
        self.topk = (1, 5) if enough else (1,)
        self._members = records[0]['run']['groups']
        self.accuracy = box_classification_accuracy(
            *(topk_labels, self.labels, total, self._members, self.topk)
        )
        self._pairs = confused_pairs(self.best, self.labels, total)
        hits, counts = count_hits(topk_labels, self.labels, total, self.topk)
        taken_for, taken = main_confusion(self._pairs, total)
        self.classes = {
            label: ClassFigures(
                *(self.names[label], int(hits[label, 0]), int(counts[label])),
                ', '.join(
                    g for g, ids in self._members.items() if label in ids
                ),
                (hits[label] / counts[label]).tolist(),
                self.names[taken_for[label]] if taken[label] else '',
                int(taken[label]),
            )
            for label in np.flatnonzero(counts).tolist()
        }

    def _ranked(self, preds: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Predicted classes, best first, (N, K)."""

        def stack(key: str, width: int) -> np.ndarray:
            return np.concatenate([pred[key][:, :width] for pred in preds])

        if not all('topk_labels' in pred for pred in preds):
            labels = np.concatenate([pred['labels'] for pred in preds])
            return labels[:, None].astype(int)
        width = min(pred['topk_labels'].shape[1] for pred in preds)
        labels = stack('topk_labels', width).astype(int)
        if all('topk_scores' in pred for pred in preds):
            is_true = labels == self.labels[:, None]
            order = np.lexsort(
                (is_true, -stack('topk_scores', width)), axis=-1
            )
            labels = np.take_along_axis(labels, order, axis=1)
        return labels

    def groups(self) -> List[Tuple[str, int, int]]:
        """Groups that have boxes, 'all' first: name, classes with boxes,
        boxes."""
        found = []
        for name, ids in {'all': self.classes, **self._members}.items():
            boxes = [self.classes[i].boxes for i in ids if i in self.classes]
            if boxes:
                found.append((name, len(boxes), sum(boxes)))
        return found

    def pairs(self) -> List[Tuple[str, str, int, float, int]]:
        """All confusions, the most frequent first: true class, predicted
        class, boxes, their share of the true class's, and boxes of the
        predicted class that were called the true one."""
        pairs = list(zip(*(column.tolist() for column in self._pairs)))
        counts = {(true, called): count for true, called, count in pairs}
        return [
            (
                *(self.names[true], self.names[called], count),
                count / self.classes[true].boxes,
                counts.get((called, true), 0),
            )
            for true, called, count in pairs
        ]

    def calibration(
        self, num_bins: int
    ) -> Tuple[ReliabilityBins, float, float]:
        """Predictions by probability, expected and maximum calibration error
        in [0, 1]."""
        bins = reliability_bins(self.scores, self.correct, num_bins)
        return (bins, *expected_calibration_error(bins))

    def coco_sizes(self) -> List[Share]:
        """Top-1 in COCO's ranges of sizes."""
        return self._by_side(
            [low**0.5 for low, _ in COCO_AREAS.values()], [*COCO_AREAS]
        )

    def fine_sizes(self) -> List[Share]:
        """Top-1 in finer steps, without empty ones before the first and after
        the last box."""
        shares = self._by_side(FINE_SIDES)
        filled = [i for i, each in enumerate(shares) if each.boxes]
        return shares[filled[0] : filled[-1] + 1]

    def _by_side(
        self, sides: Sequence[float], names: Sequence[str] = ()
    ) -> List[Share]:
        """Top-1 in ranges that begin at these sides of a square, px."""
        hits, counts = count_hits_by_area(
            box_areas(self.bboxes), self.correct, np.square(sides)
        )
        ranges = [f'{a:g} to {b:g}' for a, b in zip(sides, sides[1:])]
        ranges.append(f'from {sides[-1]:g}')
        if names:
            ranges = [f'{n}, {each}' for n, each in zip(names, ranges)]
        return list(map(Share, ranges, hits.tolist(), counts.tolist()))

    def worst(
        self, number: int, min_boxes: int
    ) -> List[Tuple[ClassFigures, np.ndarray]]:
        """The classes of lowest Top-1, those of more boxes first where equal.

        Args:
            number (int): How many at most.
            min_boxes (int): Boxes that a class needs.

        Returns:
            list[tuple[ClassFigures, np.ndarray]]: Each with its wrongly
            classified boxes, the surest mistake first.
        """
        found = []
        for label, each in self.classes.items():
            if each.boxes >= min_boxes and each.hits < each.boxes:
                wrong = (self.labels == label) & ~self.correct
                wrong = np.flatnonzero(wrong)
                order = np.argsort(-self.scores[wrong], kind='stable')
                found.append((each, wrong[order]))
        found.sort(key=lambda each: (each[0].share, -each[0].boxes))
        return found[:number]
