"""Choice of the right text among the candidates of a box."""

from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import METRICS

from ..functional import candidate_ranks
from .table import render_table


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
        collect_device (str): Where ranks exchange their results, 'cpu' or
            'gpu'. Defaults to 'cpu'.
        prefix (str, optional): Prefix of the keys. Defaults to None:
            'fgovd'.
        collect_dir (str, optional): Folder shared by the ranks for
            ``collect_device='cpu'``. Defaults to None.

    Raises:
        DataError: If a sample lacks the scores, a score is NaN, the data
            set names no sets or there is no box at all.
    """

    default_prefix = 'fgovd'

    def __init__(
        self,
        collect_device: str = 'cpu',
        prefix: Optional[str] = None,
        collect_dir: Optional[str] = None,
    ) -> None:
        super().__init__(collect_device, prefix, collect_dir)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the ranks of one batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples with ground truth and
                predictions, see the class.
        """
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
            logits = pred['candidate_logits'].float().cpu().numpy()
            try:
                ranks = candidate_ranks(logits, truth['labels'].cpu().numpy())
            except ValueError as error:
                raise DataError(f'image {image}: {error}') from error
            counts = np.isfinite(logits).sum(axis=1)
            subsets = truth['subset_ids'].cpu().numpy()
            self.results.append(
                np.stack([subsets, ranks, counts]).astype(np.int32)
            )

    def compute_metrics(self, results: List[np.ndarray]) -> Dict[str, float]:
        """Compute the figures and print their table.

        Args:
            results (list[np.ndarray]): Sets, ranks and numbers of candidates
                of each image's boxes, (3, N).

        Returns:
            dict[str, float]: The figures.
        """
        logger = MMLogger.get_current_instance()
        names = (self.dataset_meta or {}).get('subsets')
        if not names:
            raise DataError(
                "the data set names no sets (metainfo 'subsets'): use "
                'FGOVDDataset'
            )
        subsets, ranks, counts = np.concatenate(results, axis=1)
        if not len(ranks):
            raise DataError(f'none of the {len(results)} images has a box')
        figures, rows = {}, []
        for index, name in enumerate(names):
            own = subsets == index
            if not own.any():
                logger.warning(f'no box is of set "{name}": it has no figure')
                continue
            # sums of integers: the same in any order
            top1 = 100.0 * int((ranks[own] == 1).sum()) / int(own.sum())
            mean_rank = int(ranks[own].sum()) / int(own.sum())
            chance = float(100 * (1 / np.sort(counts[own])).mean())
            figures[f'{name}_top1'] = top1
            figures[f'{name}_mean_rank'] = mean_rank
            rows.append([name, int(own.sum()), top1, mean_rank, chance])
        header = ['set', 'boxes', 'top1', 'mean rank', 'top1 by chance']
        title = f'Right expression of a box, {len(results)} images, percent'
        logger.info('\n' + render_table(header, rows, title))
        return figures
