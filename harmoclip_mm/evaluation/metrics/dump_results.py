"""Dump of predictions together with the ground truth they answer."""

from typing import Any, Sequence

from mmdet.structures.mask import encode_mask_results
from mmengine.evaluator import DumpResults

from harmoclip_mm.registry import METRICS


@METRICS.register_module()
class DumpRegionResults(DumpResults):
    """Write predictions and ground truth of every image to a pickle file.

    As mmdet's ``DumpDetResults``, but ``gt_instances`` stays: predictions
    classify the given boxes, so neither can be read without the other, and
    the accuracies can be computed again from the file alone. Token ids and
    ground-truth masks are left out, predicted masks become RLE.

    Args:
        out_file_path (str): The file; ends with ``.pkl`` or ``.pickle``.
        collect_device (str): Where ranks exchange their results, 'cpu' or
            'gpu'. Defaults to 'cpu'.
        collect_dir (str, optional): Folder shared by the ranks for
            ``collect_device='cpu'``. Defaults to None.
    """

    # not results, and large
    DROPPED = (
        'ignored_instances',
        'gt_panoptic_seg',
        'gt_sem_seg',
        'caption_ids',
        'phrase_ids',
        'phrase_masks',
    )

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the predictions and the ground truth of one batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Samples as dicts; not changed.
        """
        samples = []
        for sample in data_samples:
            sample = {
                key: dict(value) if key.endswith('_instances') else value
                for key, value in sample.items()
                if key not in self.DROPPED
            }
            sample.get('gt_instances', {}).pop('masks', None)
            pred = sample.get('pred_instances', {})
            if 'masks' in pred:
                masks = pred['masks'].cpu().numpy()
                pred['masks'] = encode_mask_results(masks)
            samples.append(sample)
        super().process(data_batch, samples)
