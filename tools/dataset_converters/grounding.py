"""Boxes of the phrases of captions, by a grounding detector of mmdet."""

import copy
import os.path as osp
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from odvg_formats.lines import Line, Tally
from torchvision.ops import nms

from harmoclip_mm.datasets.transforms import BadImageError
from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.text.noun_phrases import noun_phrases

_META_KEYS = ('img_id', 'ori_shape', 'img_shape', 'scale_factor', 'text')
_META_KEYS += ('tokens_positive', 'custom_entities')


def load_detector(cfg: Config, checkpoint: str) -> torch.nn.Module:
    """Build a grounding detector with its weights.

    Raises:
        UsageError: If the detector reads no captions, its text model is not
            there, or the checkpoint is of another model.
    """
    init_default_scope('mmdet')
    if 'language_model' not in cfg.model:
        raise UsageError(
            f'{cfg.filename} is of a {cfg.model.type}, which reads no '
            'captions: give a config of MM-Grounding-DINO or GLIP'
        )
    detector = copy.deepcopy(cfg.model)
    detector.backbone.init_cfg = None  # the checkpoint has all weights
    if 'encoder' in detector:  # else it asks for fairscale, to train
        detector.encoder.num_cp = 0
    try:
        model = revert_sync_batchnorm(MODELS.build(detector))
    except (OSError, ValueError) as error:  # transformers raises both
        key = ' model.bbox_head.lang_model_name=DIR'
        key = key if 'lang_model_name' in cfg.model.bbox_head else ''
        raise UsageError(
            f'{cfg.filename} cannot be built with the text model '
            f'{cfg.model.language_model.get("name", "bert-base-uncased")} '
            f'({str(error).splitlines()[0]}). Fetch it, `huggingface-cli '
            'download google-bert/bert-base-uncased --local-dir DIR`, and add '
            f'`--cfg-options model.language_model.name=DIR{key}`'
        ) from error
    state = load_checkpoint(model, checkpoint, 'cpu', logger='silent')
    state, own = state.get('state_dict', state), model.state_dict()
    found = sum(key in state for key in own)
    if found < 0.9 * len(own):  # versions differ in a few buffers
        raise UsageError(
            f'{checkpoint} has {found} of the {len(own)} weights of '
            f'{cfg.filename}: give the checkpoint of this config'
        )
    if hasattr(model, 'decoder'):  # GLIP has none
        head = model.decoder.ref_point_head
        head.register_forward_pre_hook(_keep_encoding)
    device = get_device()
    if device == 'cuda':
        device = torch.device('cuda', torch.cuda.current_device())
    return model.to(device).eval()


def _keep_encoding(
    head: torch.nn.Module, inputs: Tuple[torch.Tensor]
) -> Optional[torch.Tensor]:
    """Undo a fault of onedl-mmdetection: its DINO, whose decoder
    Grounding DINO inherits, encodes coordinates by twice as many frequencies
    as the weights are for (its issue 25). Every second one is theirs."""
    (encoding,) = inputs
    if encoding.shape[-1] != 2 * head.layers[0].in_features:
        return None
    # sine and cosine of a frequency lie side by side
    return encoding.unflatten(-1, (-1, 4))[..., :2].flatten(-2)


def make_pipeline(cfg: Config) -> List[dict]:
    """The test pipeline of a config, which also reads images in tars, not
    turned by EXIF data, as the training does."""
    changes = {
        'LoadImageFromFile': dict(type='harmoclip_mm.LoadCheckedImage'),
        'PackDetInputs': dict(type='PackDetInputs', meta_keys=_META_KEYS),
    }
    steps = [dict(each) for each in cfg.test_dataloader.dataset.pipeline]
    return [
        changes.get(step['type'], step)
        for step in steps
        if step['type'] != 'LoadAnnotations'
    ]


def find_phrases(
    caption: str, text_model: Any, tally: Tally
) -> List[Tuple[int, int]]:
    """Spans of the noun phrases that a text model reads to their ends: the
    score of a phrase without tokens is no number."""
    tokens = text_model.tokenizer(
        caption, truncation=True, max_length=text_model.max_tokens
    )
    found = [(each.start, each.end) for each in noun_phrases(caption, [])]
    spans = [
        (start, end)
        for start, end in found
        if tokens.char_to_token(start) is not None
        and tokens.char_to_token(end - 1) is not None
    ]
    tally.read['phrases'] += len(found)
    if len(spans) < len(found):
        lost = len(found) - len(spans)
        tally.drop('phrases that the text model does not read', lost)
    return spans


def link(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    box_thr: float,
    text_thr: float,
    nms_thr: float,
) -> List[Tuple[int, List[float], float]]:
    """Choose the boxes of phrases.

    Boxes suppress each other across phrases, as in the making of GRIT
    (Kosmos-2, arXiv:2306.14824), so that a box goes to one phrase.

    Args:
        boxes (Tensor): (N, 4), xyxy in px; a box comes once for each phrase
            that it may be of.
        scores (Tensor): (N,), in [0, 1].
        labels (Tensor): (N,), numbers of phrases.
        box_thr (float): Least score of a box.
        text_thr (float): Least score of the best box of a phrase.
        nms_thr (float): Largest IoU of two boxes.

    Returns:
        List[Tuple[int, List[float], float]]: Phrase, box and score, by
        phrase, the highest score first.
    """
    chosen = (scores >= box_thr).nonzero()[:, 0]
    chosen = chosen[nms(boxes[chosen], scores[chosen], nms_thr)]
    found = [
        (int(labels[i]), boxes[i].tolist(), float(scores[i])) for i in chosen
    ]
    seen = {label for label, _, score in found if score >= text_thr}
    found = [each for each in found if each[0] in seen]
    return sorted(found, key=lambda each: (each[0], -each[2]))


class Samples:
    """What a pipeline makes of samples, or what it says of a bad image."""

    def __init__(self, samples: Sequence[dict], pipeline: List[dict]) -> None:
        self.samples, self.pipeline = samples, Compose(pipeline)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.pipeline(self.samples[index])
        except BadImageError as error:
            return str(error)


@torch.no_grad()
def ground(
    captions: Sequence[Tuple[str, str]],
    model: torch.nn.Module,
    pipeline: List[dict],
    args: Any,
    tally: Tally,
) -> Iterator[dict]:
    """Lines of ODVG of captions.

    Args:
        captions (Sequence[Tuple[str, str]]): Names of images, captions.
        model (nn.Module): See :func:`load_detector`.
        pipeline (List[dict]): See :func:`make_pipeline`.
        args (Namespace): The command line.
        tally (Tally): Counts.

    Yields:
        dict: A line of each caption whose image can be read.
    """
    samples = []
    for name, caption in captions:
        tally.where = name
        spans = find_phrases(caption, model.language_model, tally)
        samples.append(
            dict(
                img_id=name,
                img_path=osp.join(args.images, name),
                text=caption,
                tokens_positive=[[span] for span in spans],
                custom_entities=False,
            )
        )
    for batch in torch.utils.data.DataLoader(
        Samples(samples, pipeline),
        batch_size=args.batch_size,
        num_workers=min(args.num_workers, len(samples)),
        collate_fn=list,
    ):
        for tally.where in (each for each in batch if isinstance(each, str)):
            tally.drop('captions whose image cannot be read')
        batch = [each for each in batch if not isinstance(each, str)]
        asked = [x for x in batch if x['data_samples'].tokens_positive]
        found = iter(model.test_step(pseudo_collate(asked)) if asked else ())
        for each in batch:
            sample = each['data_samples']
            sample = next(found) if sample.tokens_positive else sample
            tally.written['lines'] += 1
            yield _make_line(sample, args, tally).grounding()


def _make_line(sample: Any, args: Any, tally: Tally) -> Line:
    tally.where, (height, width) = sample.img_id, sample.ori_shape[:2]
    line = Line(tally, sample.img_id, width, height, sample.text)
    spans, links = sample.tokens_positive, []
    if spans:
        found = sample.pred_instances.cpu()
        if not found.scores.isfinite().all():
            raise DataError(
                f'{sample.img_id}: the detector gives scores that are no '
                'numbers; its checkpoint is damaged or of another model'
            )
        links = link(
            *(found.bboxes, found.scores, found.labels),
            *(args.box_thr, args.text_thr, args.nms_thr),
        )
    for label, box, score in links:
        line.add([box], span=spans[label][0], score=score)
    linked = len({label for label, _, _ in links})
    tally.written['phrases'] += linked
    if linked < len(spans):
        tally.drop('phrases without boxes', len(spans) - linked)
    return line
