"""Retrieval of regions by phrase, among all regions of a data set."""

from typing import Any, Dict, List, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import METRICS

from ..functional import Units, region_retrieval
from .common import log_table, to_numpy


@METRICS.register_module()
class RegionRetrievalMetric(BaseMetric):
    """Mean average precision and recall of phrases, in percent.

    Keys: ``mAP`` and ``r{k}``, see :func:`region_retrieval`. A phrase is
    sought among the boxes of all images; right are the boxes that have it.
    Phrases that no box has are not sought. A box that several samples of an
    image have, each with a caption of its own, is one box with the phrases of
    all.

    Every sample must hold what ``RegionRetrievalPredictor`` adds, and
    ``img_path``. One result is kept for each, embeddings in float32.

    Args:
        topk (Sequence[int]): The k to report. Defaults to (1, 5, 10).
        **kwargs: As of mmengine's ``BaseMetric``.

    Raises:
        DataError: If a sample has no embeddings, one is not finite, or there
            is no box at all.
    """

    default_prefix = 'region_retrieval'

    def __init__(
        self, topk: Sequence[int] = (1, 5, 10), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.topk = tuple(sorted(topk))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the embeddings of one batch."""
        for sample in data_samples:
            found = sample.get('pred_instances', {})
            if 'embeddings' not in found:
                raise DataError(
                    f'image {sample.get("img_id")} has no embeddings of its '
                    'boxes: the model needs a RegionRetrievalPredictor'
                )
            keys = to_numpy(found['phrase_keys'])
            # of class names only those that the image has
            known = to_numpy(sample['query_keys'])
            used = np.isin(known, keys)
            self.results.append(
                (
                    sample['img_path'],
                    to_numpy(found['bboxes']),
                    to_numpy(found['embeddings']),
                    keys,
                    to_numpy(sample['query_embeddings'])[used],
                    known[used],
                )
            )

    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Compute the figures and print their table.

        Args:
            results (list[tuple]): Path, boxes, their embeddings and keys,
                embeddings and keys of the phrases of each sample.
        """
        paths, boxes, regions, phrases, queries, query_keys = zip(*results)
        keys, first = np.unique(np.concatenate(query_keys), return_index=True)
        phrases = np.concatenate(phrases)
        if not len(phrases):
            raise DataError(f'none of the {len(results)} samples has a box')
        places: Dict[tuple, int] = {}
        owners = [
            # to a tenth of a pixel: rescaling rounds
            places.setdefault((path, *np.round(box, 1).tolist()), len(places))
            for path, own in zip(paths, boxes)
            for box in own
        ]
        _, kept = np.unique(owners, return_index=True)
        try:
            found = region_retrieval(
                np.concatenate(queries)[first],
                keys,
                np.concatenate(regions)[kept],
                np.stack([owners, phrases], axis=1),
                self.topk,
            )
        except ValueError as error:
            raise DataError(str(error)) from error
        # drawn are phrases, what they are sought in stays whole
        numbers = np.arange(len(found['mAP']))
        self.units = {key: Units(numbers, each) for key, each in found.items()}
        figures = {key: each.figure for key, each in self.units.items()}
        log_table(
            f'Regions by phrase, {len(set(paths))} images, percent',
            ['phrases', 'boxes', *figures],
            [[len(keys), len(kept), *figures.values()]],
        )
        return figures
