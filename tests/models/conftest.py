"""Small real models and samples for the tests of ``models``."""

import copy

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from processes import free_port

from harmoclip_mm.models.towers import clip_spec
from harmoclip_mm.registry import MODELS


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('harmoclip_mm')
    torch.manual_seed(0)


CLIP = dict(
    embed_dim=16,
    quick_gelu=True,
    vision_cfg=dict(
        image_size=32,
        layers=2,
        width=32,
        head_width=16,
        mlp_ratio=2,
        patch_size=8,
    ),
    text_cfg=dict(width=32, heads=2, layers=2),
)
TINY = dict(
    type='HarmoCLIP',
    clip=CLIP,
    data_preprocessor=dict(type='mmdet.DetDataPreprocessor'),
    heads=dict(
        gc=dict(type='GlobalContrastiveHead'),
        lrc=dict(type='RegionPhraseHead'),
        gr=dict(type='RegionAlignmentHead', mode='text'),
    ),
    predictors=dict(
        boxes=dict(
            type='BoxClassPredictor', classifier=dict(templates='simple')
        ),
        retrieval=dict(type='RetrievalPredictor'),
    ),
)
CLASSES = ('dog', 'cat', 'red car')


def make_sample(caption, regions, scale_factor=(1.0, 1.0)):
    """A training sample; regions are (box, phrase, linked to the caption)."""
    tokenizer = clip_spec(CLIP).tokenizer
    phrases = [phrase for _, phrase, _ in regions]
    sample = DetDataSample(
        metainfo=dict(
            captions=[caption] if caption else [],
            phrases=phrases,
            text=CLASSES,
            scale_factor=scale_factor,
        )
    )
    encoding = tokenizer.encode(caption)
    masks = []
    for _, phrase, linked in regions:
        start = caption.find(phrase)
        masks.append(
            tokenizer.span_mask(encoding, [[start, start + len(phrase)]])
            if linked
            else torch.zeros(77, dtype=torch.bool)
        )
    sample.caption_ids = encoding.ids[None][: 1 if caption else 0]
    alone = [tokenizer.encode(phrase) for phrase in phrases]
    sample.phrase_ids = torch.zeros(0, 77).long()
    sample.phrase_text_masks = torch.zeros(0, 77).bool()
    if alone:
        sample.phrase_ids = torch.stack([each.ids for each in alone])
        sample.phrase_text_masks = torch.stack(
            [tokenizer.text_mask(each) for each in alone]
        )
    sample.phrase_masks = (
        torch.stack(masks) if masks else torch.zeros(0, 77).bool()
    )
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([box for box, _, _ in regions]).reshape(-1, 4),
        labels=torch.arange(len(regions)),
    )
    return sample


@pytest.fixture
def tiny_cfg():
    """Config of a tiny HarmoCLIP with all three heads."""
    return copy.deepcopy(TINY)


@pytest.fixture
def tiny_model(tiny_cfg):
    """The tiny model, initialised."""
    model = MODELS.build(tiny_cfg)
    model.init_weights()
    return model


@pytest.fixture(name='make_sample', scope='session')
def make_sample_fixture():
    """The function that makes samples."""
    return make_sample


@pytest.fixture
def samples():
    """Three images: two regions, none, and a phrase of its own."""
    return [
        make_sample(
            'a dog beside a red car',
            [
                ([0.0, 0.0, 16.0, 16.0], 'dog', True),
                ([8.0, 8.0, 32.0, 30.0], 'red car', True),
            ],
        ),
        make_sample('nothing to see', []),
        make_sample('', [([2.0, 3.0, 20.0, 29.0], 'cat', False)]),
    ]


@pytest.fixture(scope='session')
def run_ranks():
    """Runs ``worker(rank, port, *args)`` in that many real processes.

    They are forked from a server that has imported the package, once for
    the whole session.
    """
    context = torch.multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['harmoclip_mm.models'])

    def run(worker, ranks, *args):
        torch.multiprocessing.start_processes(
            worker, (int(free_port()), *args), ranks, start_method='forkserver'
        )

    return run


@pytest.fixture
def saved_bytes():
    """Counts the bytes that ``function()`` keeps for its backward.

    Memory that several operations keep counts once, parameters do not count.
    """

    def count(function):
        kept = {}

        def pack(tensor):
            if not isinstance(tensor, torch.nn.Parameter):
                kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            out = function()
        del out
        return sum(x.untyped_storage().nbytes() for x in kept.values())

    return count
