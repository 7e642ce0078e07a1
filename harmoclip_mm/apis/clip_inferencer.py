"""What the inferencers of a CLIP share."""

import os
import os.path as osp
from collections import Counter
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import mmcv
import mmengine
import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.dataset import pseudo_collate
from mmengine.fileio import (
    get_file_backend,
    isdir,
    join_path,
    list_dir_or_file,
)
from mmengine.infer import BaseInferencer
from PIL import Image
from rich.progress import track
from torchvision.datasets.folder import IMG_EXTENSIONS

from harmoclip_mm.datasets.transforms import CLIPResize, LoadCheckedImage
from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.models import HarmoCLIP
from harmoclip_mm.models.layers import cosine_logits
from harmoclip_mm.pixels import rgb_of

from .clip import load_clip
from .region_boxes import (
    ImageBoxes,
    boxes_of,
    check_inside,
    grid_of,
    read_box_file,
)

ImageLike = Union[str, os.PathLike, np.ndarray, Image.Image]


class CLIPInferencer(BaseInferencer):
    """mmengine's inferencer around :func:`load_clip`.

    Images are paths, addresses, folders, arrays (uint8 BGR (H, W, 3), as
    mmcv reads them) or Pillow's. They are not turned by their EXIF data, as
    boxes of COCO are not.

    Args:
        model (str | Path | HarmoCLIP): A checkpoint of any format, see
            :func:`load_clip`, or a model.
        arch (str, optional): The CLIP, where the checkpoint does not tell.
        device (str, optional): Device. Defaults to a GPU if there is one.
        img_size (int | Tuple[int, int], optional): Height and width in
            pixels that images with boxes are resized to. Larger ones show
            smaller regions and cost more. Defaults to the CLIP's own.
        trust_pickle (bool): See :func:`load_clip`. Defaults to False.
        show_progress (bool): Whether to show a bar. Defaults to True.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
    """

    def __init__(
        self,
        model: Union[str, os.PathLike, HarmoCLIP],
        arch: Optional[str] = None,
        device: Optional[str] = None,
        img_size: Union[int, Tuple[int, int], None] = None,
        trust_pickle: bool = False,
        show_progress: bool = True,
    ) -> None:
        self._source = model, arch, trust_pickle
        self._img_size = img_size
        self._num_arrays = 0
        super().__init__(
            # pictures keep their size, so that boxes drawn are boxes given
            dict(
                visualizer=dict(
                    type='harmoclip_mm.RegionTextVisualizer', shorter_side=0
                )
            ),
            device=device,
            scope='harmoclip_mm',
            show_progress=show_progress,
        )

    def _init_model(
        self, cfg: dict, weights: Optional[str], device: str
    ) -> HarmoCLIP:
        model, arch, trust_pickle = self._source
        del self._source
        if isinstance(model, (str, os.PathLike)):
            model = load_clip(model, arch, trust_pickle=trust_pickle)
        return model.to(device).eval()

    def _init_pipeline(self, cfg: dict) -> Compose:
        """From a loaded image with boxes to an input of the model."""
        size = self._img_size or self.model.backbone.img_size
        resize = CLIPResize(self.model.spec.clip, size=size)
        return Compose(
            [resize, dict(type='mmdet.PackDetInputs', meta_keys=())]
        )

    def _inputs_to_list(self, inputs: Any) -> List[ImageLike]:
        """Images of a folder in the order of their names, and one as one."""
        inputs = _as_text(inputs)
        if isinstance(inputs, str):
            backend = get_file_backend(inputs)
            if hasattr(backend, 'isdir') and isdir(inputs):
                names = list_dir_or_file(
                    inputs,
                    list_dir=False,
                    suffix=(*IMG_EXTENSIONS, *map(str.upper, IMG_EXTENSIONS)),
                    recursive=True,
                )
                inputs = [join_path(inputs, name) for name in sorted(names)]
                if not inputs:
                    raise UsageError('the folder of images holds none')
        if not isinstance(inputs, (list, tuple)):
            inputs = [inputs]
        return [_as_text(each) for each in inputs]

    def pair(
        self, inputs: Any, boxes: Any
    ) -> List[Tuple[ImageLike, Union[ImageBoxes, int]]]:
        """Finds the boxes of images.

        Args:
            inputs (Any): Images, see the class; of a folder those that a file
                of boxes names.
            boxes (Any): Their boxes, see :func:`boxes_of`.

        Returns:
            List[tuple]: Images, each with its boxes or cells a side of a grid.

        Raises:
            DataError: If an image has no boxes there.
        """
        inputs, boxes = _as_text(inputs), _as_text(boxes)
        is_file = isinstance(boxes, str) and not osp.isdir(boxes)
        if is_file and isinstance(inputs, str) and osp.isdir(inputs):
            found = read_box_file(boxes)
            return [(join_path(inputs, n), own) for n, own in found.items()]
        images = self._inputs_to_list(inputs)
        return list(zip(images, boxes_of(boxes, images)))

    def read_image(self, image: ImageLike) -> Dict[str, Any]:
        """Reads an image.

        Args:
            image (str | np.ndarray | Image): See the class.

        Returns:
            dict: ``img`` (uint8 BGR (H, W, 3)), ``img_shape`` and
            ``ori_shape`` (H, W).

        Raises:
            DataError: If it cannot be used; names it.
        """
        if isinstance(image, str):
            return LoadCheckedImage()(dict(img_path=image))
        if isinstance(image, Image.Image):
            image = np.asarray(rgb_of(image))[..., ::-1]
        if not isinstance(image, np.ndarray):
            raise DataError(
                f'a {type(image).__name__} is no image: give paths, arrays or '
                "Pillow's images, several as a list"
            )
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DataError(
                f'an image of {image.dtype} {image.shape} is none: arrays '
                'are uint8 (H, W, 3), blue first'
            )
        shape = image.shape[:2]
        image = np.ascontiguousarray(image)
        return dict(img=image, img_shape=shape, ori_shape=shape)

    def load_regions(
        self, image: ImageLike, boxes: Union[ImageBoxes, int]
    ) -> Tuple[np.ndarray, ImageBoxes, Dict[str, Any]]:
        """Reads an image and brings it and its boxes to the model's size.

        Args:
            image (str | np.ndarray | Image): See the class.
            boxes (ImageBoxes | int): Its boxes, or cells a side of a grid.

        Returns:
            Tuple[np.ndarray, ImageBoxes, dict]: The image as read, its boxes
            in its pixels, and the sample for the model.

        Raises:
            DataError: If the image cannot be used, or a box is outside.
        """
        results = self.read_image(image)
        img, shape = results['img'], results['img_shape']
        if isinstance(boxes, int):
            boxes = grid_of(shape, boxes)
        else:
            where = image if isinstance(image, str) else 'an image'
            check_inside(boxes, shape, where)
        results['gt_bboxes'] = HorizontalBoxes(boxes.bboxes.copy())
        return img, boxes, self.pipeline(results)

    @torch.no_grad()
    def encode_regions(self, samples: Sequence[Dict]) -> List[torch.Tensor]:
        """Embeds the boxes of loaded images.

        Args:
            samples (Sequence[dict]): Samples of :meth:`load_regions`.

        Returns:
            List[Tensor]: L2-normalised embeddings, shapes (N_i, D).
        """
        data = self.model.data_preprocessor(pseudo_collate(list(samples)))
        boxes = [each.gt_instances.bboxes for each in data['data_samples']]
        boxes = [getattr(each, 'tensor', each) for each in boxes]
        if not sum(map(len, boxes)):
            dims = self.model.backbone.out_dims
            return [each.new_zeros(0, dims) for each in boxes]
        return self.model.encode_regions(data['inputs'], boxes)

    def tracked(self, items: Sequence, size: int, what: str) -> Iterator[list]:
        """Lists of ``size`` items, behind a progress bar."""
        if size < 1:
            raise UsageError(f'batch_size must be at least 1, not {size}')
        for start in track(
            range(0, len(items), size), what, disable=not self.show_progress
        ):
            yield items[start : start + size]


def _as_text(place: Any) -> Any:
    """A path of pathlib as a string; all else as it is."""
    return os.fspath(place) if isinstance(place, os.PathLike) else place


class TextScoringInferencer(CLIPInferencer):
    """Scores rows of images, boxes or images as such, against texts."""

    def score(
        self, rows: torch.Tensor, texts: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Similarities and probabilities.

        Args:
            rows (Tensor): L2-normalised embeddings, shape (N, D).
            texts (Tensor): L2-normalised embeddings, shape (T, D).

        Returns:
            Tuple[Tensor, Tensor]: Cosines and what the CLIP was trained to
            say: probabilities over the texts, or of each by itself where it
            has a bias (SigLIP). Both (N, T), float32, on the CPU.
        """
        logit_scale = self.model.logit_scale
        cosines = cosine_logits(rows, texts, rows.new_ones(()))
        scale, bias = logit_scale()
        logits = scale.float() * cosines
        if bias is not None:
            logits = logits + bias.float()
        return cosines.cpu(), logit_scale.probabilities(logits).cpu()

    def run(
        self,
        images: List[ImageLike],
        batches: Iterator[Tuple[List[np.ndarray], SampleList]],
        texts: Sequence[str],
        return_datasamples: bool = False,
        no_save_vis: bool = False,
        no_save_pred: bool = False,
        out_dir: str = '',
        **kwargs: Any,
    ) -> Dict[str, list]:
        """Draws and writes what batches say.

        Args:
            images (list): The images.
            batches (Iterator): Pictures (uint8 BGR (H, W, 3)) and samples
                with predictions.
            texts (Sequence[str]): The T texts.
            return_datasamples (bool): Whether predictions are
                ``DetDataSample`` and not dicts. Defaults to False.
            no_save_vis (bool): Write no pictures into ``out_dir``.
            no_save_pred (bool): Write no predictions into ``out_dir``.
            out_dir (str): Folder to write ``vis/`` and ``preds/`` into.
                Defaults to none.
            **kwargs: ``return_vis``, ``show``, ``wait_time`` and
                ``pred_score_thr``, see :meth:`visualize`.

        Returns:
            Dict[str, list]: ``predictions`` and ``visualization``.
        """
        self.visualizer.dataset_meta = dict(classes=tuple(texts))
        names = self._names(images, bool(out_dir))
        found: Dict[str, list] = dict(predictions=[], visualization=[])
        for pictures, samples in batches:
            start = len(found['predictions'])
            inputs = list(zip(names[start:], pictures))
            drawn = self.visualize(
                inputs,
                samples,
                img_out_dir='' if no_save_vis else out_dir,
                **kwargs,
            )
            result = self.postprocess(
                samples,
                drawn,
                return_datasamples,
                pred_out_dir='' if no_save_pred else out_dir,
                names=names[start:],
            )
            found['predictions'] += result['predictions']
            found['visualization'] += result['visualization']
        return found

    def _names(self, images: List[ImageLike], written: bool) -> List[str]:
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
        inputs: List[Tuple[str, np.ndarray]],
        preds: SampleList,
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        img_out_dir: str = '',
        pred_score_thr: float = 0.0,
    ) -> List[np.ndarray]:
        """Draws the predictions.

        Args:
            inputs (list): Names and pictures, uint8 BGR (H, W, 3).
            preds (SampleList): Their predictions.
            return_vis (bool): Whether the pictures are wanted, uint8 RGB.
            show (bool): Whether to open a window.
            wait_time (float): Seconds it stays; 0 waits for a key.
            img_out_dir (str): Folder to write ``vis/`` into; '' for none.
            pred_score_thr (float): Lowest probability that is drawn.
        """
        drawn: List[np.ndarray] = []
        if not (return_vis or show or img_out_dir):
            return drawn
        for (name, picture), pred in zip(inputs, preds):
            self.visualizer.add_datasample(
                name,
                mmcv.bgr2rgb(picture),
                pred,
                draw_gt=False,
                show=show,
                wait_time=wait_time,
                pred_score_thr=pred_score_thr,
                out_file=osp.join(img_out_dir, 'vis', name)
                if img_out_dir
                else None,
            )
            if return_vis:
                drawn.append(self.visualizer.get_image())
        return drawn

    def postprocess(
        self,
        preds: SampleList,
        visualization: List[np.ndarray],
        return_datasamples: bool = False,
        pred_out_dir: str = '',
        names: Sequence[str] = (),
    ) -> Dict[str, list]:
        """Makes plain dicts of predictions, and writes them into ``preds/``
        of a folder, by the names of the images."""
        results = [self.pred2dict(each) for each in preds]
        if pred_out_dir:
            for name, result in zip(names, results):
                name = f'{osp.splitext(name)[0]}.json'
                mmengine.dump(result, osp.join(pred_out_dir, 'preds', name))
        return dict(
            predictions=list(preds) if return_datasamples else results,
            visualization=visualization,
        )

    def pred2dict(self, pred: DetDataSample) -> Dict[str, Any]:
        """Predictions of an image as lists and numbers."""
        raise NotImplementedError
