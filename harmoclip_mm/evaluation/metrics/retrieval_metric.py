"""Retrieval of captions by images and of images by captions."""

from typing import Any, Dict, List, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import METRICS

from ..functional import Units, retrieval_ranks
from .common import check_unique, log_table, to_numpy


@METRICS.register_module()
class ImageTextRetrievalMetric(BaseMetric):
    """Recall at k of image-to-text and text-to-image retrieval, in percent.

    Keys: ``i2t_r{k}``, the share of images with one of their captions among
    the best k of all captions; ``t2i_r{k}``, the share of captions with their
    image among the best k of all images. Among equal similarities the right
    answer comes last: a tie is never a hit by luck.

    Every sample must hold ``image_embedding`` (D,) and, if it has C >= 1
    captions, ``text_embeddings`` (C, D), L2-normalised. An image without
    caption stays in the gallery and is not a query. One result is kept for
    each image, embeddings in float32.

    Args:
        topk (Sequence[int]): The k to report. Defaults to (1, 5, 10).
        **kwargs: As of mmengine's ``BaseMetric``.

    Raises:
        DataError: If no image has a caption, two samples are the same
            image, a sample has no embedding, or one is not finite.
    """

    default_prefix = 'retrieval'

    def __init__(
        self, topk: Sequence[int] = (1, 5, 10), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.topk = tuple(sorted(topk))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the embeddings of one batch."""
        for sample in data_samples:
            img_id = sample.get('img_id')
            if 'image_embedding' not in sample:
                raise DataError(
                    f'image {img_id} has no image_embedding: the model must '
                    'predict it for retrieval'
                )
            image = to_numpy(sample['image_embedding'])
            texts = to_numpy(sample.get('text_embeddings', image[None][:0]))
            if not (np.isfinite(image).all() and np.isfinite(texts).all()):
                raise DataError(
                    f'image {img_id}: its embedding or that of a caption is '
                    'not finite; look for NaN in the weights of the model'
                )
            self.results.append((img_id, image, texts))

    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Compute the recalls and print their table.

        Args:
            results (list[tuple]): Image id, image embedding and caption
                embeddings of each image.
        """
        ids, images, texts = zip(*results)
        check_unique(ids)
        captions = np.array([len(each) for each in texts])
        if not captions.any():
            raise DataError(
                f'none of the {len(results)} images has a caption: check '
                'that the test pipeline loads captions (LoadCaptions) and '
                "that the caption file is that of the data set's images"
            )
        found = retrieval_ranks(
            np.stack(images),
            np.concatenate(texts),
            np.repeat(np.arange(len(images)), captions),
        )
        self.units = {
            f'{name}_r{k}': Units(asked, ranks <= k)
            for name, (asked, ranks) in found.items()
            for k in self.topk
        }
        recall = {key: each.figure for key, each in self.units.items()}
        rows = [
            [name, count, *(recall[f'{key}_r{k}'] for k in self.topk)]
            for key, name, count in (
                ('i2t', 'image to text', (captions > 0).sum()),
                ('t2i', 'text to image', captions.sum()),
            )
        ]
        header = ['retrieval', 'queries', *(f'R@{k}' for k in self.topk)]
        title = f'Retrieval among {len(results)} images and {captions.sum()} '
        log_table(f'{title}captions, percent', header, rows)
        return recall
