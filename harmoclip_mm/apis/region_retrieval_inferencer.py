"""Regions of a folder of images that words find."""

import os.path as osp
from typing import Any, Dict, Iterator, List, Sequence, Tuple, Union

import mmcv
import mmengine
import numpy as np
import torch
from mmengine.logging import print_log

from harmoclip_mm.errors import CheckpointError, DataError, UsageError
from harmoclip_mm.models.classifiers import tower_fingerprint
from harmoclip_mm.registry import INFERENCERS
from harmoclip_mm.visualization.drawing import cut_region, draw_text

from .clip_inferencer import CLIPInferencer, ImageLike
from .region_index import RegionIndex

_COLOR = (230, 57, 70)
_TILE = 240  # px a side of a drawn region with its surroundings


@INFERENCERS.register_module()
class RegionRetrievalInferencer(CLIPInferencer):
    """Finds regions by words, in an index that is made once.

    Args:
        *args: See :class:`CLIPInferencer`.
        **kwargs: See :class:`CLIPInferencer`.

    Examples:
        >>> retrieve = RegionRetrievalInferencer('ViT-B-16.pt')
        >>> retrieve.build_index('photos/', 'photos.index', boxes=3)
        >>> found = retrieve(['a red bus'], 'photos.index', topk=5)
        >>> found['predictions'][0][0]
        {'img_path': ..., 'bbox': [...], 'score': ...}
    """

    def build_index(
        self,
        inputs: Any,
        index: str,
        boxes: Any = 3,
        batch_size: int = 8,
    ) -> RegionIndex:
        """Embeds regions and writes them as an index.

        Images that cannot be read are counted and left out.

        Args:
            inputs (Any): A folder of images, with those in its folders, or a
                list of paths; of a folder those that a file of boxes names.
            index (str): Folder to write.
            boxes (Any): Where regions come from, see :func:`boxes_of`.
                Defaults to the cells of grids of up to 3 a side.
            batch_size (int): Images at once. Defaults to 8.

        Raises:
            DataError: If there are no images, or none can be used.
            UsageError: If the index exists.
        """
        items = self.pair(inputs, boxes)
        images = [image for image, _ in items]
        if not all(isinstance(image, str) for image in images):
            raise DataError('an index keeps paths, so it takes no arrays')
        paths = [p if '://' in p else osp.abspath(p) for p in images]
        bad: List[str] = []
        written = RegionIndex.write(
            index,
            paths,
            self._rows(list(enumerate(items)), batch_size, bad),
            self.model.backbone.out_dims,
            text_fingerprint=tower_fingerprint(self.model.text_encoder),
            vision_fingerprint=tower_fingerprint(self.model.backbone),
        )
        print_log(
            f'{index}: {len(written.features)} regions of '
            f'{len(images) - len(bad)} images; {len(bad)} could not be used'
            + (f', the first: {bad[0]}' if bad else ''),
            logger='current',
        )
        return written

    def _rows(
        self,
        items: List[Tuple[int, Tuple[ImageLike, Any]]],
        batch_size: int,
        bad: List[str],
    ) -> Iterator[Tuple[int, np.ndarray, np.ndarray]]:
        for batch in self.tracked(items, batch_size, 'Embedding regions'):
            loaded = []
            for number, item in batch:
                try:
                    loaded.append((number, *self.load_regions(*item)[1:]))
                except DataError as error:
                    bad.append(str(error))
            if loaded:
                rows = self.encode_regions([sample for *_, sample in loaded])
                for (number, boxes, _), each in zip(loaded, rows):
                    yield (
                        number,
                        boxes.bboxes.numpy(),
                        each.cpu().float().numpy(),
                    )
        if len(bad) == len(items):
            first = f', the first: {bad[0]}' if bad else ': there is none'
            raise DataError(f'no image can be used{first}')

    def __call__(
        self,
        inputs: Union[str, Sequence[str]],
        index: Union[str, RegionIndex],
        topk: int = 10,
        return_vis: bool = False,
        out_dir: str = '',
    ) -> Dict[str, list]:
        """Finds the regions that words name.

        Args:
            inputs (str | Sequence[str]): Texts.
            index (str | RegionIndex): Folder of :meth:`build_index`, or what
                it returned, which is checked once.
            topk (int): Regions of each text. Defaults to 10.
            return_vis (bool): Whether pictures of them are wanted.
            out_dir (str): Folder to write ``predictions.json`` and, a picture
                for each text, ``vis/`` into. Defaults to none.

        Returns:
            Dict[str, list]: ``visualization``, and ``predictions``: for each
            text a list of dicts, best first, of ``img_path``, ``bbox`` (xyxy
            in pixels of the image) and ``score``, a cosine.

        Raises:
            DataError: If there is no such index.
            CheckpointError: If another CLIP made it.
        """
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        if not texts or topk < 1:
            raise UsageError('give at least one text, and topk of 1 or more')
        if not isinstance(index, RegionIndex):
            index = RegionIndex(index)
        self._check(index)
        with torch.no_grad():
            scores, rows = index.search(self.model.encode_text(texts), topk)
        found = [self.postprocess(index, *each) for each in zip(scores, rows)]
        drawn = []
        for number, (text, hits) in enumerate(zip(texts, found)):
            if return_vis or out_dir:
                picture = self.visualize(text, hits)
                if return_vis:
                    drawn.append(picture)
                if out_dir:
                    path = osp.join(out_dir, 'vis', f'{number:04d}.jpg')
                    mmcv.imwrite(picture[..., ::-1], path)
        if out_dir:
            result = [dict(text=t, regions=r) for t, r in zip(texts, found)]
            mmengine.dump(result, osp.join(out_dir, 'predictions.json'))
        return dict(predictions=found, visualization=drawn)

    def _check(self, index: RegionIndex) -> None:
        """Refuses the features of another CLIP; hashing takes a second, so
        each index is asked once."""
        if getattr(index, 'checked_for', None) is self.model:
            return
        for name, tower in (
            ('text', self.model.text_encoder),
            ('vision', self.model.backbone),
        ):
            made = index.about.get(f'{name}_fingerprint')
            if made != tower_fingerprint(tower):
                raise CheckpointError(
                    f'{index.folder} was made by a CLIP with another {name} '
                    'tower: build it again with this one'
                )
        index.checked_for = self.model

    def visualize(self, text: str, hits: List[Dict[str, Any]]) -> np.ndarray:
        """Draws regions side by side below their text.

        Args:
            text (str): The text.
            hits (List[dict]): Its regions.

        Returns:
            np.ndarray: Picture, uint8 RGB.
        """
        columns = max(1, min(5, len(hits)))
        title = draw_text(text, columns * _TILE, 20, [])
        lines = -(-len(hits) // columns)
        blank = np.full((lines * _TILE, columns * _TILE, 3), 255, np.uint8)
        picture = np.concatenate([title, blank])
        for number, hit in enumerate(hits):
            image = mmcv.bgr2rgb(self.read_image(hit['img_path'])['img'])
            score = f'{hit["score"]:.3f}'
            cut = cut_region(image, hit['bbox'], _TILE, 1.2, score, _COLOR)
            line, column = divmod(number, columns)
            place = picture[len(title) + line * _TILE :, column * _TILE :]
            place[: len(cut), : cut.shape[1]] = cut
        return picture

    def postprocess(
        self, index: RegionIndex, scores: torch.Tensor, rows: torch.Tensor
    ) -> List[Dict[str, Any]]:
        """Regions of a text as dicts, from rows of the index (K,)."""
        images = index.about['images']
        return [
            dict(img_path=images[int(number)], bbox=box, score=cosine)
            for cosine, (number, *box) in zip(
                scores.tolist(), index.boxes[rows.numpy()].tolist()
            )
        ]
