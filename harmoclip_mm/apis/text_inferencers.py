"""How well texts go together with images, and with boxes of images."""

import os.path as osp
from collections import Counter
from typing import Any, Dict, List, Sequence, Tuple, Union

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
from .region_boxes import grid_of


class TextInferencer(CLIPInferencer):
    """Scores images, as a whole or in boxes, against texts.

    Attributes:
        drawn (int): Texts told of each image or box in a picture.
    """

    drawn: int

    @torch.no_grad()
    def run(
        self,
        items: Sequence[Tuple[ImageLike, Any]],
        words: torch.Tensor,
        texts: Sequence[str],
        batch_size: int = 1,
        return_vis: bool = False,
        out_dir: str = '',
    ) -> Dict[str, list]:
        """Compares images with texts, draws and writes.

        Args:
            items (Sequence[tuple]): Images and their boxes, see :meth:`pair`.
            words (Tensor): L2-normalised embeddings of T texts, (T, D).
            texts (Sequence[str]): The texts.
            batch_size (int): Images at once. Defaults to 1.
            return_vis (bool): Whether pictures are wanted, uint8 RGB.
            out_dir (str): Folder to write ``vis/`` and ``preds/`` into, by
                the names of the images. Defaults to none.

        Returns:
            Dict[str, list]: ``predictions`` and ``visualization``.

        Raises:
            UsageError: If two images would write the same files.
        """
        self.visualizer.dataset_meta = dict(classes=tuple(texts))
        names = self._names([image for image, _ in items], bool(out_dir))
        named = [(name, *item) for name, item in zip(names, items)]
        found: Dict[str, list] = dict(predictions=[], visualization=[])
        for batch in self.tracked(named, batch_size, 'Comparing'):
            loaded = [self.load_regions(*item) for _, *item in batch]
            rows = self.encode_regions([sample for *_, sample in loaded])
            for (name, *_), (picture, boxes, _), own in zip(
                batch, loaded, rows
            ):
                result = self.compare(own, words, boxes)
                found['predictions'].append(self.postprocess(result))
                if out_dir:
                    file = f'{osp.splitext(name)[0]}.json'
                    file = osp.join(out_dir, 'preds', file)
                    mmengine.dump(found['predictions'][-1], file)
                if return_vis or out_dir:
                    path = osp.join(out_dir, 'vis', name) if out_dir else None
                    drawn = self.visualize(picture, result, name, path)
                if return_vis:
                    found['visualization'].append(drawn)
        return found

    def compare(
        self, rows: torch.Tensor, words: torch.Tensor, boxes: InstanceData
    ) -> InstanceData:
        """Compares boxes with texts.

        Args:
            rows (Tensor): L2-normalised embeddings of the boxes, (N, D).
            words (Tensor): L2-normalised embeddings of the texts, (T, D).
            boxes (InstanceData): The boxes.

        Returns:
            InstanceData: ``bboxes``, and ``det_scores`` where the boxes have
            scores; ``similarities`` and ``text_scores`` (N, T), cosines and
            what the CLIP was trained to say: probabilities over the texts,
            or of each by itself where it has a bias (SigLIP); ``labels`` and
            ``scores`` (N,) of the best text, and ``topk_labels``,
            ``topk_scores`` of the best. On the CPU.
        """
        logit_scale = self.model.logit_scale
        cosines = cosine_logits(rows, words, rows.new_ones(()))
        logits = cosine_logits(rows, words, *logit_scale())
        scores = logit_scale.probabilities(logits)
        # Not by probabilities, which tie at 1 or 0 where logits are large.
        labels = cosines.topk(min(self.drawn, len(words))).indices
        best = scores.gather(1, labels)
        found = InstanceData(
            bboxes=boxes.bboxes,
            similarities=cosines,
            text_scores=scores,
            labels=labels[:, 0],
            scores=best[:, 0],
            topk_labels=labels,
            topk_scores=best,
        )
        if 'scores' in boxes:
            found.det_scores = boxes.scores
        return found.cpu()

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
            photo of a {}."; ``'none'`` adds nothing to them,
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
                string is one, cleaned as names of classes are, see
                :func:`~harmoclip_mm.text.class_to_prompt`; or the classes of
                :func:`load_vocabulary`.
            batch_size (int): Images at once. Defaults to 1.
            **kwargs: ``return_vis`` and ``out_dir``, see :meth:`run`.

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
        with torch.no_grad():
            words = self.classifier.class_embeddings(
                classes, self.model.text_encoder
            )
        items = self.pair(inputs, boxes)
        return self.run(items, words, classes, batch_size, **kwargs)

    def postprocess(self, result: InstanceData) -> Dict[str, Any]:
        """Predictions of an image as lists."""
        keys = ('bboxes', 'labels', 'scores', 'text_scores', 'det_scores')
        return {key: result[key].tolist() for key in keys if key in result}


@INFERENCERS.register_module()
class ImageTextInferencer(TextInferencer):
    """Compares whole images with texts, as CLIP was trained to.

    Images are prepared as open_clip does; those of a palette or with
    transparency, which open_clip resizes before it makes them RGB, are made
    RGB first. Texts are taken as they are.

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
            **kwargs: ``return_vis`` and ``out_dir``, see :meth:`run`.

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
        with torch.no_grad():
            words = self.model.encode_text(texts)
        items = [(image, None) for image in self._inputs_to_list(inputs)]
        return self.run(items, words, texts, batch_size, **kwargs)

    def load_regions(
        self, image: ImageLike, boxes: None
    ) -> Tuple[np.ndarray, InstanceData, torch.Tensor]:
        """Reads an image: as it is, its one box, and as open_clip would."""
        picture = self.read_image(image)['img']
        whole = Image.fromarray(mmcv.bgr2rgb(picture))
        boxes = grid_of(picture.shape, 1)
        return picture, boxes, self.model.preprocess(whole)

    def encode_regions(
        self, samples: Sequence[torch.Tensor]
    ) -> Sequence[torch.Tensor]:
        """Embeds whole images, each (1, D)."""
        device = next(self.model.parameters()).device
        inputs = torch.stack(list(samples)).to(device)
        return self.model.encode_image(inputs).split(1)

    def postprocess(self, result: InstanceData) -> Dict[str, Any]:
        """Predictions of an image as lists."""
        return dict(
            similarities=result.similarities[0].tolist(),
            probabilities=result.text_scores[0].tolist(),
        )
