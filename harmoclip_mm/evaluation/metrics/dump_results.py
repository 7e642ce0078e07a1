"""Dump of predictions together with the ground truth they answer."""

from typing import Any, Dict, List, Optional, Sequence

from mmdet.structures.mask import encode_mask_results
from mmengine.evaluator import DumpResults

from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import METRICS

from .checks import check_unique, difference_of_classes


@METRICS.register_module()
class DumpRegionResults(DumpResults):
    """Write predictions and ground truth of every image to a pickle file.

    As mmdet's ``DumpDetResults``, but ``gt_instances`` stays: predictions
    classify the given boxes, so neither can be read without the other, and
    the accuracies can be computed again from the file alone. Token ids and
    ground-truth masks are left out, predicted masks become RLE. The key
    ``run`` of every record says where it is from, for :func:`check_run`.

    Args:
        out_file_path (str): The file; ends with ``.pkl`` or ``.pickle``.
        run (dict, optional): What ``run`` of the records holds beside
            ``classes`` of the data set, e.g. ``config``, ``checkpoint``,
            ``date`` and ``ann_sha256``; plain values. Defaults to None.
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
        'candidate_ids',
    )

    def __init__(
        self,
        out_file_path: str,
        run: Optional[Dict[str, Any]] = None,
        collect_device: str = 'cpu',
        collect_dir: Optional[str] = None,
    ) -> None:
        super().__init__(out_file_path, collect_device, collect_dir)
        self.run = dict(run or {})

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
                if key not in self.DROPPED and not key.startswith('phrase_')
            }
            sample.get('gt_instances', {}).pop('masks', None)
            pred = sample.get('pred_instances', {})
            if 'masks' in pred:
                masks = pred['masks'].cpu().numpy()
                pred['masks'] = encode_mask_results(masks)
            samples.append(sample)
        super().process(data_batch, samples)

    def compute_metrics(self, results: List[dict]) -> dict:
        """Write the file.

        Args:
            results (list[dict]): Records of all images.

        Returns:
            dict: Empty.

        Raises:
            DataError: If two samples are the same image.
        """
        check_unique([record.get('img_id') for record in results])
        classes = (self.dataset_meta or {}).get('classes')
        run = {'classes': classes and tuple(classes), **self.run}
        # one object, which pickle writes once
        return super().compute_metrics(
            [{**record, 'run': run} for record in results]
        )


def check_run(
    records: Sequence[dict],
    path: str,
    classes: Optional[Sequence[str]] = None,
    ann_sha256: Optional[str] = None,
    img_ids: Optional[Sequence[Any]] = None,
) -> Dict[str, Any]:
    """Refuse a results file that is not of one run, or not of this data set.

    Args:
        records (Sequence[dict]): Records that :class:`DumpRegionResults`
            wrote.
        path (str): Their file, for errors.
        classes (Sequence[str], optional): Classes the labels must index.
            Defaults to None: not compared.
        ann_sha256 (str, optional): Checksum of the annotation file the
            results must be of. Defaults to None: not compared.
        img_ids (Sequence[Any], optional): The images the file must hold,
            in any order. Defaults to None: not compared.

    Returns:
        dict[str, Any]: ``run`` of the file: ``classes``, and what the writer
        knew of ``config``, ``checkpoint``, ``ann_file``, ``ann_sha256``.

    Raises:
        DataError: If the records are of several runs or of another data
            set, or hold an image twice.
    """
    remedy = 'make it anew with tools/test.py --out'
    runs = [record.get('run') for record in records]
    if not runs or None in runs:
        raise DataError(
            f'results file {path} does not say which run it is from (key '
            f'"run"); {remedy}'
        )
    run = runs[0]
    if any(other is not run and other != run for other in runs):
        raise DataError(
            f'results file {path} holds results of several runs; {remedy}'
        )
    origin = ', '.join(
        f'{key} {run[key]}'
        for key in ('config', 'checkpoint', 'ann_file')
        if run.get(key)
    )
    what = f'results file {path} is of another run ({origin or "unknown"})'
    check_unique([record.get('img_id') for record in records])
    if classes is not None and run.get('classes'):
        where = difference_of_classes(classes, run['classes'])
        if where:
            raise DataError(f'{what}: {where}; {remedy}')
    found = run.get('ann_sha256')
    if None not in (ann_sha256, found) and found != ann_sha256:
        raise DataError(
            f'{what}: its annotation file is not this one (SHA-256 '
            f'{found[:12]}..., here {ann_sha256[:12]}...); give the config '
            f'and the data of that run, or {remedy}'
        )
    if img_ids is not None:
        here = {record.get('img_id') for record in records}
        odd = sorted(here.symmetric_difference(img_ids), key=str)
        if odd:
            where = 'only in the file' if odd[0] in here else 'not in the file'
            raise DataError(
                f'{what}: {len(odd)} images differ from those of the data '
                f'set, the first is image {odd[0]}, {where}'
            )
    return run
