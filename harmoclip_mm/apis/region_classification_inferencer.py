"""Classes of given boxes, in any words."""

from typing import Any, Dict, Iterator, List, Sequence, Tuple, Union

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData

from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.classifiers import ZeroShotClassifier
from harmoclip_mm.registry import INFERENCERS
from harmoclip_mm.text import Vocabulary, load_vocabulary

from .clip_inferencer import ImageLike, TextScoringInferencer

_DRAWN = 3  # classes told of each box


@INFERENCERS.register_module()
class RegionClassificationInferencer(TextScoringInferencer):
    """Names boxes, those of any detector too, whose classes it replaces.

    All boxes of an image are pooled from one dense map, and words are encoded
    once for all images.

    Args:
        *args: See :class:`CLIPInferencer`.
        templates (str | Sequence[str]): Prompt templates that words are put
            into, see ``ZeroShotClassifier``. Defaults to ``'simple'``, "a
            photo of a {}."; ``'none'`` takes words as they are,
            ``'openai80'`` is slower and a little better.
        **kwargs: See :class:`CLIPInferencer`.

    Examples:
        >>> classify = RegionClassificationInferencer('ViT-B-16.pt')
        >>> found = classify('street.jpg', [[10, 20, 90, 80]], ['bus', 'car'])
        >>> found['predictions'][0]['text_scores']
    """

    def __init__(
        self,
        *args: Any,
        templates: Union[str, Sequence[str]] = 'simple',
        **kwargs: Any,
    ) -> None:
        try:
            self.classifier = ZeroShotClassifier(templates)
        except ValueError as error:
            raise UsageError(str(error)) from error
        super().__init__(*args, **kwargs)

    def __call__(
        self,
        inputs: Any,
        boxes: Any,
        texts: Union[str, Sequence[str], Vocabulary],
        batch_size: int = 1,
        **kwargs: Any,
    ) -> Dict[str, list]:
        """Classifies the boxes of images.

        Args:
            inputs (Any): Images, see :class:`CLIPInferencer`; of a folder
                those that a file of boxes names.
            boxes (Any): Their boxes, see :func:`boxes_of`.
            texts (str | Sequence[str] | Vocabulary): T words or phrases, or
                the name of a vocabulary or its file.
            batch_size (int): Images at once. Defaults to 1.
            **kwargs: ``out_dir`` and what else is returned, shown and
                written, see :meth:`run`.

        Returns:
            Dict[str, list]: ``visualization``, and ``predictions``: for each
            image ``bboxes`` (N, 4) xyxy in pixels of the image, ``labels``
            and ``scores`` (N,) of the best text, ``text_scores`` (N, T), and
            ``det_scores`` (N,) where a detector gave some.

        Raises:
            DataError: If an image or its boxes cannot be used.
            UsageError: If the texts are none.
        """
        try:
            vocabulary = load_vocabulary(texts)
        except (FileNotFoundError, TypeError, ValueError) as error:
            raise UsageError(str(error)) from error
        items = self.pair(inputs, boxes)
        batches = self._classify(items, vocabulary.prompts, batch_size)
        images = [image for image, _ in items]
        return self.run(images, batches, vocabulary.classes, **kwargs)

    @torch.no_grad()
    def _classify(
        self,
        items: List[Tuple[ImageLike, Any]],
        prompts: Sequence[str],
        batch_size: int,
    ) -> Iterator[Tuple[List[np.ndarray], SampleList]]:
        words = self.classifier.class_embeddings(
            prompts, self.model.text_encoder
        )
        for batch in self.tracked(items, batch_size, 'Classifying'):
            loaded = [self.load_regions(*item) for item in batch]
            rows = self.encode_regions([sample for *_, sample in loaded])
            samples = []
            for (_, boxes, _), each in zip(loaded, rows):
                scores = self.score(each, words)[1]
                top = scores.topk(min(_DRAWN, len(prompts)))
                found = InstanceData(
                    bboxes=torch.from_numpy(boxes.bboxes),
                    labels=top.indices[:, 0],
                    scores=top.values[:, 0],
                    topk_labels=top.indices,
                    topk_scores=top.values,
                    text_scores=scores,
                )
                if boxes.scores is not None:
                    found.det_scores = torch.from_numpy(boxes.scores)
                samples.append(DetDataSample(pred_instances=found))
            yield [picture for picture, *_ in loaded], samples

    def pred2dict(self, pred: DetDataSample) -> Dict[str, Any]:
        """See the base class."""
        found = pred.pred_instances
        keys = ('bboxes', 'labels', 'scores', 'text_scores', 'det_scores')
        return {key: found.get(key).tolist() for key in keys if key in found}
