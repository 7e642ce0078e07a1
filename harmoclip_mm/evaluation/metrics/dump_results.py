"""Dump of predictions together with the ground truth they answer."""

from typing import Any, Dict, List, Optional, Sequence, Union

from mmdet.structures.mask import encode_mask_results
from mmengine.evaluator import DumpResults

from harmoclip_mm.registry import METRICS
from harmoclip_mm.text import find_groups


@METRICS.register_module()
class DumpRegionResults(DumpResults):
    """Write predictions and ground truth of every image to a pickle file.

    As mmdet's ``DumpDetResults``, but ``gt_instances`` stays: predictions
    classify the given boxes, so neither can be read without the other, and
    the accuracies can be computed again from the file alone. Boxes of
    predictions, and of the ground truth that they answer row by row, are
    those of the original image. Token ids and ground-truth masks are left
    out, predicted masks become RLE. The key ``run`` of every record says
    where it is from: ``classes`` and ``groups`` of the data set, and what
    the writer knew.

    Args:
        out_file_path (str): The file; ends with ``.pkl`` or ``.pickle``.
        run (dict, optional): What ``run`` of the records holds beside
            these, e.g. ``config``, ``checkpoint`` and ``date``; plain
            values. Defaults to None.
        groups (str or dict, optional): Where the groups are named, as in
            :class:`BoxClassificationMetric`. Defaults to None.
        **kwargs: As of mmengine's ``DumpResults``.
    """

    default_prefix = 'results'  # mmengine warns where there is none
    # not results, and large
    DROPPED = (
        'ignored_instances',
        'gt_panoptic_seg',
        'gt_sem_seg',
        'caption_ids',
        'candidate_ids',
    )

    def __init__(
        self,
        out_file_path: str,
        run: Optional[Dict[str, Any]] = None,
        groups: Optional[Union[str, Dict[str, Sequence[str]]]] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(out_file_path, **kwargs)
        self.groups = groups
        self.run = dict(run or {})

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predictions and the ground truth of one batch."""
        samples = []
        for sample in data_samples:
            sample = {
                key: dict(value) if key.endswith('_instances') else value
                for key, value in sample.items()
                if key not in self.DROPPED and not key.startswith('phrase_')
            }
            if not isinstance(sample.get('text', ''), str):
                del sample['text']  # the classes, which `run` has once
            truth = sample.get('gt_instances', {})
            truth.pop('masks', None)
            pred = sample.get('pred_instances', {})
            if {'topk_labels', 'candidate_logits', 'embeddings'} & {*pred}:
                truth['bboxes'] = pred['bboxes']
            if 'masks' in pred:
                masks = pred['masks'].cpu().numpy()
                pred['masks'] = encode_mask_results(masks)
            samples.append(sample)
        super().process(data_batch, samples)

    def compute_metrics(self, results: List[dict]) -> dict:
        """Write the file."""
        meta = self.dataset_meta or {}
        run = dict(self.run, classes=None, groups={})
        if meta.get('classes'):
            groups = find_groups(meta, self.groups)
            run.update(classes=tuple(meta['classes']), groups=groups)
        # one object, which pickle writes once
        return super().compute_metrics(
            [{**record, 'run': run} for record in results]
        )
