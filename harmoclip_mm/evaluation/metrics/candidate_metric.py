"""Choice of the right text among the candidates of a box."""

from typing import Any, Dict, List, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import METRICS

from ..functional import Units, answer_ranks
from .common import log_table, to_numpy


@METRICS.register_module()
class FGOVDMetric(BaseMetric):
    """How often the right expression of a box beats all wrong ones.

    Keys, for each set of the data: ``{set}_top1`` in percent, the share of
    boxes whose right expression has a higher score than every wrong one, and
    ``{set}_mean_rank`` (1 is best; of FG-OVD, arXiv 2311.17518). A tie counts
    against the model.

    Every sample must hold ``gt_instances.labels`` (N,), the right text,
    ``gt_instances.subset_ids`` (N,) and ``pred_instances.candidate_logits``
    (N, T), -inf for texts that are no candidates. The data set names the
    sets in ``metainfo['subsets']``. One result is kept for each image.

    Args:
        **kwargs: As of mmengine's ``BaseMetric``.

    Raises:
        DataError: If a sample lacks the scores, a score is NaN, the data
            set names no sets or there is no box at all.
    """

    default_prefix = 'fgovd'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the ranks of one batch."""
        for sample in data_samples:
            image = sample.get('img_id', sample.get('img_path', '?'))
            truth = sample['gt_instances']
            pred = sample.get('pred_instances', {})
            for name, part, key in (
                ('gt_instances', truth, 'subset_ids'),
                ('pred_instances', pred, 'candidate_logits'),
            ):
                if key not in part:
                    raise DataError(
                        f'image {image} has no {name}.{key}: the test '
                        'pipeline needs TokenizeCandidates, and a data set '
                        'with candidates such as FGOVDDataset'
                    )
            logits = to_numpy(pred['candidate_logits'])
            labels = to_numpy(truth['labels'])[:, None]
            right = labels == np.arange(logits.shape[1])
            assert right.any(axis=1).all(), f'image {image}: label beyond T'
            try:
                ranks = answer_ranks(logits, right)
            except ValueError as error:
                raise DataError(f'image {image}: {error}') from error
            counts = np.isfinite(logits).sum(axis=1)
            subsets = to_numpy(truth['subset_ids'])
            self.results.append(
                np.stack([subsets, ranks, counts]).astype(np.int32)
            )

    def compute_metrics(self, results: List[np.ndarray]) -> Dict[str, float]:
        """Compute the figures and print their table.

        Args:
            results (list[np.ndarray]): Sets, ranks and numbers of candidates
                of each image's boxes, (3, N).
        """
        names = (self.dataset_meta or {}).get('subsets')
        if not names:
            raise DataError(
                "the data set names no sets (metainfo 'subsets'): use "
                'FGOVDDataset'
            )
        subsets, ranks, counts = np.concatenate(results, axis=1)
        if not len(ranks):
            raise DataError(f'none of the {len(results)} images has a box')
        images = np.repeat(
            np.arange(len(results)), [each.shape[1] for each in results]
        )
        self.units, figures, rows = {}, {}, []
        for index, name in enumerate(names):
            own = subsets == index
            if not own.any():
                MMLogger.get_current_instance().warning(
                    f'no box is of set "{name}": it has no figure'
                )
                continue
            units = Units(images[own], ranks[own] == 1)
            self.units[f'{name}_top1'] = units
            top1 = figures[f'{name}_top1'] = units.figure
            # a sum of integers: the same in any order
            mean_rank = int(ranks[own].sum()) / int(own.sum())
            figures[f'{name}_mean_rank'] = mean_rank
            chance = float(100 * (1 / np.sort(counts[own])).mean())
            rows.append([name, int(own.sum()), top1, mean_rank, chance])
        header = ['set', 'boxes', 'top1', 'mean rank', 'top1 by chance']
        title = f'Right expression of a box, {len(results)} images, percent'
        log_table(title, header, rows)
        return figures
