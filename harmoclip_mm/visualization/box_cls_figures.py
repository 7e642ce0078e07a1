"""What the page tells, as numbers."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, List, Mapping, Sequence, Tuple

import numpy as np
from scipy.stats import binomtest

from harmoclip_mm.errors import UsageError
from harmoclip_mm.evaluation.functional import (
    answer_ranks,
    box_classification,
    count_hits,
    measure_calibration,
)

# Lower ends of ranges of sizes, as sides of a square of the same area in px.
# COCO's small ends at 32, its medium at 96 (pycocotools, Params.areaRng), of
# areas of masks, and both ends of a range belong to it. Here areas are of
# boxes, and a range begins with its lower end: a box is in exactly one.
SIDES = (0, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


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
        """95 % interval of the share (E. B. Wilson, JASA 22, 1927); NaN
        without boxes. Boxes count as independent, which those of one image
        are not: the true uncertainty is rather larger."""
        if not self.boxes:
            return float('nan'), float('nan')
        test = binomtest(self.hits, self.boxes)
        return tuple(map(float, test.proportion_ci(method='wilson')))


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
    taken_for: str = ''
    taken: int = 0


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
        correct (np.ndarray): Whether they are the true ones, (N,) bool.
        calibration (Calibration): Of :func:`measure_calibration`.
        topk (Tuple[int, ...]): The k of the accuracies.
        accuracy (Dict[str, float]): Figures of :func:`box_classification`.
        classes (Dict[int, ClassFigures]): The classes with boxes.
        groups (Dict[str, Tuple[int, int]]): Classes with boxes, and boxes, of
            each group that has some; 'all' first.
        pairs (List[Tuple[str, str, int, float]]): All confusions, the most
            frequent first: true class, predicted class, boxes, and their
            share of the true class's.

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
        run = records[0]['run']
        self.names = tuple(run['classes'])
        truths = [record['gt_instances'] for record in filled]
        preds = [record['pred_instances'] for record in filled]
        self.images = np.repeat(
            np.arange(len(filled)), [len(truth['labels']) for truth in truths]
        )
        self.bboxes = np.concatenate([t['bboxes'] for t in truths])
        self.labels = np.concatenate([t['labels'] for t in truths]).astype(int)
        self.scores = np.concatenate([p['scores'] for p in preds])
        width = min(pred['topk_labels'].shape[1] for pred in preds)
        # logits that differ may have one probability
        has_logits = all('topk_logits' in pred for pred in preds)
        scores = 'topk_logits' if has_logits else 'topk_scores'
        topk_labels, topk_scores = (
            np.concatenate([pred[key][:, :width] for pred in preds])
            for key in ('topk_labels', scores)
        )
        total = len(self.names)
        known = np.append(topk_labels, self.labels)
        if known.min() < 0 or known.max() >= total:
            raise UsageError(
                f'the results hold classes {known.min()} to {known.max()}, '
                f'but there are only {total} classes (0 to {total - 1}): make '
                'them anew with tools/test.py --out'
            )
        ranks = answer_ranks(topk_scores, topk_labels == self.labels[:, None])
        self.correct = ranks == 1
        # Of a wrong box the best other class, which may tie with the true one.
        other = (topk_labels != self.labels[:, None]).argmax(axis=1)
        best = np.take_along_axis(topk_labels, other[:, None], axis=1)[:, 0]
        self.best = np.where(self.correct, self.labels, best).astype(int)
        self.calibration = measure_calibration(self.scores, self.correct)
        self.topk = (1, 5) if width >= min(5, total) and total > 1 else (1,)
        units = box_classification(
            self.images, self.labels, ranks, run['groups'], self.topk
        )
        self.accuracy = {key: each.figure for key, each in units.items()}
        hits = [
            count_hits(self.labels, ranks <= k, total)[0] for k in self.topk
        ]
        counts = np.bincount(self.labels)
        self.classes = {
            label: ClassFigures(
                *(self.names[label], int(hits[0][label]), int(counts[label])),
                ', '.join(g for g, i in run['groups'].items() if label in i),
                [float(each[label] / counts[label]) for each in hits],
            )
            for label in np.flatnonzero(counts).tolist()
        }
        self.groups = {}
        for name, labels in {'all': self.classes, **run['groups']}.items():
            boxes = counts[[i for i in labels if i in self.classes]]
            if boxes.size:
                self.groups[name] = len(boxes), int(boxes.sum())
        wrong = Counter(
            zip(
                self.labels[~self.correct].tolist(),
                self.best[~self.correct].tolist(),
            )
        )
        self.pairs = []
        for (true, called), count in sorted(
            wrong.items(), key=lambda pair: (-pair[1], pair[0])
        ):
            each, name = self.classes[true], self.names[called]
            self.pairs.append((each.name, name, count, count / each.boxes))
            if not each.taken:  # the first is the most frequent
                each.taken_for, each.taken = name, count

    def sizes(self) -> List[Share]:
        """Top-1 by the side of a square of the same area in px, without empty
        ranges before the first and after the last box."""
        lengths = self.bboxes[:, 2:].astype(float) - self.bboxes[:, :2]
        areas = lengths.clip(min=0).prod(axis=1)
        index = np.searchsorted(np.square(SIDES), areas, side='right') - 1
        hits, boxes = count_hits(index, self.correct, len(SIDES))
        names = [f'{low} to {high}' for low, high in zip(SIDES, SIDES[1:])]
        names.append(f'from {SIDES[-1]}')
        return [
            Share(names[n], int(hits[n]), int(boxes[n]))
            for n in range(index.min(), index.max() + 1)
        ]

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
