"""Candidates that a test chooses among: texts for a box, boxes for a text."""

import os.path as osp
import re
from collections import defaultdict
from typing import Any, Dict, List, Mapping, Optional, Union

import numpy as np
import torch

from harmoclip_mm.coco_file import check_members, check_records, read_json
from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import CLIPS, TRANSFORMS
from harmoclip_mm.text import phrases_of

from .base import PrintedTransform


@TRANSFORMS.register_module()
class TokenizeCandidates(PrintedTransform):
    """Tokenize the texts that the boxes of a sample are compared with.

    Unlike ``TokenizeRegionText`` it keeps phrases that no box has as its
    label: those are the wrong answers.

    Required keys: ``phrases`` (see :class:`RegionPhraseDataset`), or ``text``
    (str) as mmdet's data sets of referring expressions have it, which becomes
    the only phrase and the label of every box.
    Optional keys of ``instances``: ``candidates`` (list[int], the phrases
    that a box is compared with; all of them without it) and ``subset`` (int,
    where the box is counted).
    Added keys, L being the context length:

    - ``candidate_ids`` int64 (T, L): one row a phrase.
    - ``gt_candidate_mask`` bool (N, T) and ``gt_subset_ids`` int64 (N,),
      where the instances say so.

    Args:
        clip (str | Mapping): The CLIP whose tokens are wanted: a name of
            open_clip's, a config or a folder.
        lower (bool): Lower-case the texts, as FG-CLIP 2's evaluation does.
            Defaults to False.

    Raises:
        UsageError: If there is no such CLIP.
    """

    def __init__(
        self, clip: Union[str, Mapping[str, Any]], lower: bool = False
    ) -> None:
        self.spec = CLIPS.get('CLIPSpec')(clip)
        self.tokenizer = self.spec.tokenizer
        self.lower = lower

    def transform(self, results: dict) -> dict:
        """Tokenize the candidates of a sample."""
        if 'phrases' not in results:
            phrase = {'phrase': results['text'], 'tokens_positive': []}
            results['phrases'] = {0: phrase}
            if 'gt_bboxes_labels' in results:
                labels = np.zeros_like(results['gt_bboxes_labels'])
                results['gt_bboxes_labels'] = labels
        phrases = phrases_of(results)
        if self.lower:
            phrases = [phrase.lower() for phrase in phrases]
        results['candidate_ids'] = self.tokenizer.ids(phrases)
        instances = results.get('instances') or []
        if any('candidates' in each for each in instances):
            mask = torch.zeros(len(instances), len(phrases), dtype=torch.bool)
            for row, each in zip(mask, instances):
                row[each['candidates']] = True
            results['gt_candidate_mask'] = mask
        if any('subset' in each for each in instances):
            subsets = [each['subset'] for each in instances]
            results['gt_subset_ids'] = torch.tensor(subsets)
        return results


@TRANSFORMS.register_module()
class LoadCandidateBoxes(PrintedTransform):
    """Add the boxes of an image that an expression may mean, as proposals.

    The file is read once, when the pipeline is built. Two formats are told
    apart by their content: COCO annotations (``instances_train2014.json``;
    crowds and empty boxes are left out), and COCO results, a list of
    ``{"image_id", "bbox", "score"}``, as a proposal network writes them.
    Images are matched by file name, and by its folders where several have
    one name; results have no file names, so their ``image_id`` is the number
    at the end of the name, as in COCO.

    Place it after the resizing.

    Required keys: ``img_path``, and ``scale_factor`` of the resizing.
    Added keys: ``proposals`` float32 (N, 4), xyxy in px of the resized
    image, and ``proposals_scores`` float32 (N,), 1 for annotations.

    Args:
        ann_file (str): The json file.
        max_boxes (int, optional): Keep the so many boxes of the highest
            score. None keeps all.
        backend_args (dict, optional): File backend of ``ann_file``.

    Raises:
        DataError: If ``ann_file`` does not exist or has neither format, or
            has no box for an image.
    """

    def __init__(
        self,
        ann_file: str,
        max_boxes: Optional[int] = None,
        backend_args: Optional[dict] = None,
    ) -> None:
        self.ann_file = ann_file
        self.max_boxes = max_boxes
        content = read_json(
            osp.abspath(ann_file),
            'give LoadCandidateBoxes COCO annotations with the boxes of the '
            'images, or proposals in the format of COCO results',
            backend_args,
        )
        # by base name the images of that name, where the file has names
        self.images: Dict[str, List[dict]] = defaultdict(list)
        kinds = dict(image_id='id', bbox='box', score='number?')
        if isinstance(content, dict):
            kinds = dict(id='id?', image_id='id', bbox='box')
            images = check_records(
                content, 'images', ann_file, id='id', file_name='name'
            )
            for image in images:
                self.images[osp.basename(image['file_name'])].append(image)
        else:
            content = dict(annotations=content)
        found = check_records(content, 'annotations', ann_file, **kinds)
        if self.images:
            ids = {image['id'] for image in images}
            check_members(found, 'image_id', ids, ann_file)
        self.boxes = _read_boxes(found)

    def transform(self, results: dict) -> dict:
        """Add the boxes."""
        name = osp.basename(results['img_path'])
        number = re.search(r'(\d+)\.\w+$', name)
        image_id = number and int(number[1])
        if self.images:
            image_id = self._find(name, results['img_path'])
        rows = self.boxes.get(image_id)
        if rows is None:
            raise DataError(
                f'{self.ann_file} holds no box for {results["img_path"]} '
                f'(image_id {image_id}): use the file of the images that are '
                'tested'
            )
        if self.max_boxes is not None:
            best = np.argsort(-rows[:, 4], kind='stable')[: self.max_boxes]
            rows = rows[best]
        width, height = results.get('scale_factor', (1.0, 1.0))
        factor = np.array([width, height, width, height], dtype=np.float32)
        results['proposals'] = rows[:, :4] * factor
        results['proposals_scores'] = rows[:, 4].copy()
        return results

    def _find(self, name: str, path: str) -> Any:
        """Id of an image, None if the file does not have it."""
        found = self.images.get(name, ())
        if len(found) > 1:
            end = f'/{path}'
            found = [x for x in found if end.endswith(f'/{x["file_name"]}')]
        if len(found) > 1:
            raise DataError(
                f'{self.ann_file} has several images that {path} may be, '
                f'{found[0]["id"]!r} and {found[1]["id"]!r}: let file_name '
                'tell their folders'
            )
        return found[0]['id'] if found else None


def _read_boxes(annotations: List[dict]) -> Dict[int, np.ndarray]:
    """By image id xyxy and score; crowds and empty boxes are left out."""
    boxes = defaultdict(list)
    for each in annotations:
        x, y, width, height = each['bbox']
        if width > 0 and height > 0 and not each.get('iscrowd'):
            box = x, y, x + width, y + height, each.get('score', 1)
            boxes[each['image_id']].append(box)
    return {key: np.array(rows, np.float32) for key, rows in boxes.items()}
