"""A small real model and data set for the tests of the tools.

Boxes are classified by a linear layer over the mean colour inside the box;
images are described by their mean colour.
"""

from typing import List, Optional

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.structures import InstanceData
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

COLOURS = {'red': (0, 0, 255), 'green': (0, 255, 0), 'blue': (255, 0, 0)}


@DATASETS.register_module()
class ToyBoxes(Dataset):
    """Images with 0 to 2 boxes of one colour each, drawn when first read."""

    metainfo = {
        'classes': tuple(COLOURS),
        'warm_classes': ('red',),
        'cold_classes': ('green', 'blue'),
    }

    def __init__(self, folder: str, length: int) -> None:
        self.folder = folder
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        rng = np.random.default_rng(index)
        image = rng.integers(0, 120, (32, 48, 3), dtype=np.uint8)
        labels = rng.integers(0, 3, index % 3)
        boxes = np.zeros((len(labels), 4), dtype=np.float32)
        for n, label in enumerate(labels):
            boxes[n] = 4 + 20 * n, 6, 18 + 20 * n, 26
            x1, y1, x2, y2 = boxes[n].astype(int)
            image[y1:y2, x1:x2] = list(COLOURS.values())[label]
        path = f'{self.folder}/{index}.png'
        cv2.imwrite(path, image)
        sample = DetDataSample(
            metainfo={
                'img_id': index,
                'img_path': path,
                'ori_shape': (32, 48),
                'img_shape': (32, 48),
            }
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(boxes), labels=torch.from_numpy(labels)
        )
        return {
            'inputs': torch.from_numpy(image).permute(2, 0, 1),
            'data_samples': sample,
        }


@MODELS.register_module()
class ToyClassifier(BaseModel):
    """Linear classifier of the mean colour of boxes."""

    def __init__(
        self, num_classes: int = 3, init_cfg: Optional[dict] = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.fc = nn.Linear(3, num_classes)

    def forward(
        self,
        inputs: List[torch.Tensor],
        data_samples: List[DetDataSample],
        mode: str = 'tensor',
    ):
        """Losses or predictions."""
        logits = [self._logits(*pair) for pair in zip(inputs, data_samples)]
        if mode == 'loss':
            labels = torch.cat([s.gt_instances.labels for s in data_samples])
            loss = F.cross_entropy(torch.cat(logits), labels, reduction='sum')
            return {'loss_cls': loss / max(len(labels), 1)}
        for image, sample, scores in zip(inputs, data_samples, logits):
            scores, labels = scores.softmax(-1).topk(scores.shape[-1])
            sample.pred_instances = InstanceData(
                bboxes=sample.gt_instances.bboxes,
                labels=labels[:, 0],
                scores=scores[:, 0],
                topk_labels=labels,
                topk_scores=scores,
            )
            embedding = F.normalize(self.fc(image.float().mean((1, 2))), dim=0)
            sample.image_embedding = embedding
            sample.text_embeddings = embedding[None]
        return data_samples

    def _logits(self, image, sample):
        means = [
            image[:, int(y1) : int(y2), int(x1) : int(x2)].float().mean((1, 2))
            for x1, y1, x2, y2 in sample.gt_instances.bboxes.tolist()
        ]
        return self.fc(
            torch.stack(means or [image.new_zeros(3)])[: len(means)].float()
            / 255
        )
