"""How well texts go together with images, and with boxes of images."""

import os.path as osp
from collections import Counter
from typing import Any, Dict, Iterator, List, Sequence, Tuple, Union

import mmcv
import mmengine
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image

from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.classifiers import ZeroShotClassifier
from harmoclip_mm.models.layers import cosine_logits
from harmoclip_mm.registry import INFERENCERS
from harmoclip_mm.text import Vocabulary, load_vocabulary

from .clip_inferencer import CLIPInferencer, ImageLike

# Of each image the picture, uint8 BGR (H, W, 3), and what texts say of it.
Results = Iterator[Tuple[np.ndarray, InstanceData]]


class TextInferencer(CLIPInferencer):
    """Scores images, as a whole or in boxes, against texts.

    Attributes:
        drawn (int): Texts told of each image or box in a picture.
    """

    drawn: int

    def compare(
        self, rows: torch.Tensor, words: torch.Tensor, bboxes: torch.Tensor
    ) -> InstanceData:
        """Compares boxes with texts.

        Args:
            rows (Tensor): L2-normalised embeddings of the boxes, (N, D).
            words (Tensor): L2-normalised embeddings of the texts, (T, D).
            bboxes (Tensor): The boxes, xyxy in pixels, shape (N, 4).

        Returns:
            InstanceData: ``bboxes``; ``similarities`` and ``text_scores``
            (N, T), cosines and what the CLIP was trained to say:
            probabilities over the texts, or of each by itself where it has a
            bias (SigLIP); ``labels`` and ``scores`` (N,) of the best text,
            and ``topk_labels``, ``topk_scores`` of the best. On the CPU.
        """
        logit_scale = self.model.logit_scale
        cosines = cosine_logits(rows, words, rows.new_ones(()))
        logits = cosine_logits(rows, words, *logit_scale())
        scores = logit_scale.probabilities(logits)
        # Not by probabilities, which tie at 1 or 0 where logits are large.
        labels = cosines.topk(min(self.drawn, len(words))).indices
        best = scores.gather(1, labels)
        return InstanceData(
            bboxes=bboxes,
            similarities=cosines,
            text_scores=scores,
            labels=labels[:, 0],
            scores=best[:, 0],
            topk_labels=labels,
            topk_scores=best,
        ).cpu()

    def collect(
        self,
        images: Sequence[ImageLike],
        results: Results,
        texts: Sequence[str],
        return_vis: bool = False,
        out_dir: str = '',
    ) -> Dict[str, list]:
        """Draws and writes results.

        Args:
            images (Sequence): The images.
            results (Iterator): Their pictures and :meth:`compare`.
            texts (Sequence[str]): The T texts.
            return_vis (bool): Whether pictures are wanted, uint8 RGB.
            out_dir (str): Folder to write ``vis/`` and ``preds/`` into, by
                the names of the images. Defaults to none.

        Returns:
            Dict[str, list]: ``predictions`` and ``visualization``.

        Raises:
            UsageError: If two images would write the same files.
        """
        self.visualizer.dataset_meta = dict(classes=tuple(texts))
        names = self._names(images, bool(out_dir))
        found: Dict[str, list] = dict(predictions=[], visualization=[])
        for (picture, result), name in zip(results, names):
            found['predictions'].append(self.postprocess(result))
            if out_dir:
                file = f'{osp.splitext(name)[0]}.json'
                mmengine.dump(
                    found['predictions'][-1], osp.join(out_dir, 'preds', file)
                )
            if return_vis or out_dir:
                path = osp.join(out_dir, 'vis', name) if out_dir else None
                drawn = self.visualize(picture, result, name, path)
                if return_vis:
                    found['visualization'].append(drawn)
        return found

    def _names(self, images: Sequence[ImageLike], written: bool) -> List[str]:
        """Names of the files to write, as mmdet's."""
        names = []
        for image in images:
            if isinstance(image, str):
                names.append(osp.basename(image))
            else:
                names.append(f'{self._num_arrays:08d}.jpg')
                self._num_arrays += 1
        stems = Counter(osp.splitext(name)[0] for name in names)
        twice = [name for name, number in stems.items() if number > 1]
        if written and twice:
            raise UsageError(
                f'{stems[twice[0]]} images are named {twice[0]!r}, but each '
                'writes files of its name: give them one out_dir each'
            )
        return names

    def visualize(
        self,
        picture: np.ndarray,
        result: InstanceData,
        name: str,
        path: Union[str, None],
    ) -> np.ndarray:
        """Draws, and writes to a path, what texts say of a picture, uint8
        BGR (H, W, 3); returns it in RGB."""
        self.visualizer.add_datasample(
            name,
            mmcv.bgr2rgb(picture),
            DetDataSample(pred_instances=result),
            draw_gt=False,
            pred_score_thr=0.0,
            out_file=path,
        )
        return self.visualizer.get_image()


@INFERENCERS.register_module()
class RegionClassificationInferencer(TextInferencer):
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

    drawn = 3

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
            texts (str | Sequence[str] | Vocabulary): T words or phrases, a
                string is one; or the classes of :func:`load_vocabulary`.
            batch_size (int): Images at once. Defaults to 1.
            **kwargs: ``return_vis`` and ``out_dir``, see :meth:`collect`.

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
            vocabulary = load_vocabulary(
                [texts] if isinstance(texts, str) else texts
            )
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from error
        classes = vocabulary.classes
        self.classifier.prompts = dict(zip(classes, vocabulary.prompts))
        items = self.pair(inputs, boxes)
        results = self._classify(items, classes, batch_size)
        images = [image for image, _ in items]
        return self.collect(images, results, classes, **kwargs)

    @torch.no_grad()
    def _classify(
        self,
        items: List[Tuple[ImageLike, Any]],
        classes: Sequence[str],
        batch_size: int,
    ) -> Results:
        words = self.classifier.class_embeddings(
            classes, self.model.text_encoder
        )
        for batch in self.tracked(items, batch_size, 'Classifying'):
            loaded = [self.load_regions(*item) for item in batch]
            rows = self.encode_regions([sample for *_, sample in loaded])
            for (picture, boxes, _), each in zip(loaded, rows):
                found = self.compare(each, words, boxes.bboxes)
                if 'scores' in boxes:
                    found.det_scores = boxes.scores
                yield picture, found

    def postprocess(self, result: InstanceData) -> Dict[str, Any]:
        """Predictions of an image as lists."""
        keys = ('bboxes', 'labels', 'scores', 'text_scores', 'det_scores')
        return {key: result[key].tolist() for key in keys if key in result}


@INFERENCERS.register_module()
class ImageTextInferencer(TextInferencer):
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

    drawn = 5

    def __call__(
        self,
        inputs: Any,
        texts: Union[str, Sequence[str]],
        batch_size: int = 1,
        **kwargs: Any,
    ) -> Dict[str, list]:
        """Compares images with texts.

        Args:
            inputs (Any): Images, see :class:`CLIPInferencer`.
            texts (str | Sequence[str]): T texts; a string is one.
            batch_size (int): Images at once. Defaults to 1.
            **kwargs: ``return_vis`` and ``out_dir``, see :meth:`collect`.

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
        results = self._compare(images, texts, batch_size)
        return self.collect(images, results, texts, **kwargs)

    @torch.no_grad()
    def _compare(
        self, images: List[ImageLike], texts: List[str], batch_size: int
    ) -> Results:
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
            for picture, row in zip(pictures, rows.split(1)):
                height, width = picture.shape[:2]
                whole = torch.tensor([[0.0, 0.0, width, height]])
                yield picture, self.compare(row, words, whole)

    def postprocess(self, result: InstanceData) -> Dict[str, Any]:
        """Predictions of an image as lists."""
        return dict(
            similarities=result.similarities[0].tolist(),
            probabilities=result.text_scores[0].tolist(),
        )
