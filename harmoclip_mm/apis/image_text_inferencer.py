"""How well images and texts go together."""

from typing import Any, Dict, Iterator, List, Sequence, Tuple

import mmcv
import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from PIL import Image

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import INFERENCERS

from .clip_inferencer import ImageLike, TextScoringInferencer

_DRAWN = 5  # texts told of each image


@INFERENCERS.register_module()
class ImageTextInferencer(TextScoringInferencer):
    """Compares whole images with texts, as CLIP was trained to.

    Images are prepared as open_clip does, texts are taken as they are.

    Args:
        *args: See :class:`CLIPInferencer`.
        **kwargs: See :class:`CLIPInferencer`.

    Examples:
        >>> compare = ImageTextInferencer('ViT-B-16.pt')
        >>> found = compare('photos/', ['a bus', 'two dogs on a beach'])
        >>> found['predictions'][0]['probabilities']
    """

    def __call__(
        self,
        inputs: Any,
        texts: Sequence[str],
        batch_size: int = 1,
        **kwargs: Any,
    ) -> Dict[str, list]:
        """Compares images with texts.

        Args:
            inputs (Any): Images, see :class:`CLIPInferencer`.
            texts (Sequence[str]): T texts.
            batch_size (int): Images at once. Defaults to 1.
            **kwargs: ``out_dir`` and what else is returned, shown and
                written, see :meth:`run`.

        Returns:
            Dict[str, list]: ``visualization``, and ``predictions``: for each
            image ``similarities``, cosines (T,), and ``probabilities`` (T,),
            over the texts, or of each by itself for a CLIP with a bias.

        Raises:
            DataError: If an image cannot be used.
            UsageError: If there are no texts.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise UsageError('give at least one text')
        images = self._inputs_to_list(inputs)
        batches = self._score(images, texts, batch_size)
        return self.run(images, batches, texts, **kwargs)

    @torch.no_grad()
    def _score(
        self, images: List[ImageLike], texts: List[str], batch_size: int
    ) -> Iterator[Tuple[List[np.ndarray], SampleList]]:
        words = self.model.encode_text(texts)
        for batch in self.tracked(images, batch_size, 'Comparing'):
            pictures = [self.read_image(image)['img'] for image in batch]
            inputs = [
                self.model.preprocess(Image.fromarray(mmcv.bgr2rgb(each)))
                for each in pictures
            ]
            rows = self.model.encode_image(
                torch.stack(inputs).to(words.device)
            )
            cosines, scores = self.score(rows, words)
            samples = []
            for picture, *own in zip(pictures, cosines, scores):
                height, width = picture.shape[:2]
                top = own[1][None].topk(min(_DRAWN, len(texts)))
                found = InstanceData(
                    bboxes=torch.tensor([[0.0, 0.0, width, height]]),
                    labels=top.indices[:, 0],
                    scores=top.values[:, 0],
                    topk_labels=top.indices,
                    topk_scores=top.values,
                    similarities=own[0][None],
                    probabilities=own[1][None],
                )
                samples.append(DetDataSample(pred_instances=found))
            yield pictures, samples

    def pred2dict(self, pred: DetDataSample) -> Dict[str, Any]:
        """See the base class."""
        found = pred.pred_instances
        keys = ('similarities', 'probabilities')
        return {key: found.get(key)[0].tolist() for key in keys}
