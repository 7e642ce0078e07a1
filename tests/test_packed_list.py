import copy
import io
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from harmoclip_mm.packed_list import PackedList


def make_sample(boxes: int, captions: int = 1) -> DetDataSample:
    generator = torch.Generator().manual_seed(boxes)
    sample = DetDataSample(
        metainfo={
            'img_path': f'{boxes}.jpg',
            'phrases': ['dog'] * boxes,
            'tokens_positive': [None, [[2, 5]]],
            'scale_factor': (0.5, 0.25),
        }
    )
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.rand((boxes, 4), generator=generator)),
        labels=torch.arange(boxes),
    )
    # Not contiguous, as a transform may leave it.
    sample.caption_ids = torch.arange(captions * 12).reshape(6, -1).t()
    sample.phrase_masks = torch.rand((boxes, 5), generator=generator) > 0.5
    return sample


def assert_same(found, expected):
    assert type(found) is type(expected)
    assert found.metainfo == expected.metainfo
    assert set(found.keys()) == set(expected.keys())
    for name in ('caption_ids', 'phrase_masks'):
        one, other = found.get(name), expected.get(name)
        assert one.dtype == other.dtype and torch.equal(one, other)
    one, other = found.gt_instances, expected.gt_instances
    assert type(one.bboxes) is type(other.bboxes) is HorizontalBoxes
    assert torch.equal(one.bboxes.tensor, other.bboxes.tensor)
    assert torch.equal(one.labels, other.labels)


@pytest.fixture
def samples():
    return [make_sample(3), make_sample(0, captions=0), make_sample(1)]


def send(value):
    """What a worker's queue does."""
    return pickle.loads(ForkingPickler.dumps(value))


def test_it_arrives_as_it_was(samples):
    sent = send(PackedList(samples))
    assert type(sent) is PackedList and len(sent) == 3
    for found, expected in zip(sent, samples):
        assert_same(found, expected)
    assert send(PackedList()) == []


def test_one_tensor_of_each_dtype_is_sent(samples):
    class Counting(pickle.Pickler):
        def reducer_override(self, value):
            if isinstance(value, torch.Tensor):
                counts.append(value.dtype)
            return NotImplemented

    counts = []
    Counting(io.BytesIO()).dump(PackedList(samples * 20))
    assert len(counts) == 3
    assert set(counts) == {torch.float32, torch.int64, torch.bool}
    counts.clear()
    Counting(io.BytesIO()).dump(samples * 20)
    assert len(counts) > 3 * 3  # the plain list sends each


def test_values_are_never_turned_into_each_other():
    values = [
        torch.tensor([float('nan'), -0.0, 1e-45]),
        torch.tensor(2**62 + 1),
        torch.tensor([True, False])[:1].expand(3),
        torch.zeros(0, 7, dtype=torch.float64),
        torch.tensor([1.5], dtype=torch.bfloat16),
        torch.tensor([[200, 7]], dtype=torch.uint8).t(),
    ]
    for found, expected in zip(send(PackedList(values)), values):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert torch.equal(
            found.nan_to_num(5.0) if found.is_floating_point() else found,
            expected.nan_to_num(5.0)
            if expected.is_floating_point()
            else expected,
        )


def test_a_parameter_and_a_sparse_tensor_go_their_own_way():
    weight = torch.nn.Parameter(torch.ones(2))
    sparse = torch.eye(3).to_sparse()
    found = pickle.loads(pickle.dumps(PackedList([weight, sparse])))
    assert isinstance(found[0], torch.nn.Parameter)
    assert found[0].requires_grad and torch.equal(found[0], weight)
    assert found[1].is_sparse
    assert torch.equal(found[1].to_dense(), torch.eye(3))


def test_a_kept_tensor_does_not_keep_the_batch(samples):
    sent = send(PackedList(samples * 50))
    ids = sent[0].caption_ids
    assert ids.untyped_storage().nbytes() == ids.numel() * 8


def test_moving_makes_items_that_share_nothing(samples):
    packed = PackedList(samples)
    moved = packed.to('cpu')
    for found, expected in zip(moved, samples):
        assert_same(found, expected)
    moved[0].gt_instances.bboxes.tensor.zero_()
    moved[0].set_metainfo({'img_path': 'other'})
    assert samples[0].gt_instances.bboxes.tensor.all()
    assert samples[0].img_path == '3.jpg'


def test_moving_to_a_device(samples):
    """The meta device stands for a GPU: the tensors are elsewhere."""
    moved = PackedList(samples).to('meta')
    assert moved[0].caption_ids.is_meta
    assert moved[0].gt_instances.bboxes.tensor.is_meta
    assert moved[0].caption_ids.shape == samples[0].caption_ids.shape
    # One transfer: all of a dtype lie in one storage.
    storages = {
        each.gt_instances.labels.untyped_storage()._cdata for each in moved
    } | {each.caption_ids.untyped_storage()._cdata for each in moved}
    assert len(storages) == 1


def test_it_is_a_list(samples):
    packed = PackedList(samples)
    assert isinstance(packed, list) and packed == samples
    assert copy.copy(packed) == samples
    assert packed.pin_memory() is packed
    assert type(packed)(each for each in packed) == samples
