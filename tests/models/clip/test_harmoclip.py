"""The assembled model on small real samples."""

from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from torch.overrides import TorchFunctionMode

from harmoclip_mm.errors import DataError
from harmoclip_mm.models.clip.text_features import text_features
from harmoclip_mm.models.data_preprocessors import RegionTextDataPreprocessor
from harmoclip_mm.models.losses.info_nce import symmetric_info_nce
from harmoclip_mm.packed_list import PackedList
from harmoclip_mm.registry import MODELS
from harmoclip_mm.text import phrase_key


@pytest.fixture
def img():
    return torch.randn(3, 3, 32, 32)


def test_losses_equal_the_formulas(tiny_model, samples, img):
    """L_GC, L_LRC and L_GR, written out from the API of single features."""
    model = tiny_model.eval()
    losses = model(img, samples, mode='loss')
    with torch.no_grad():
        image = model.encode_image(img)[:2]  # the third has no caption
        text = model.encode_text(['a dog beside a red car', 'nothing to see'])
        boxes = [each.gt_instances.bboxes for each in samples]
        regions = torch.cat(model.encode_regions(img, boxes))
        tokens = model.text_encoder(
            model.text_encoder.tokenizer.ids(['a dog beside a red car', 'cat'])
        ).tokens
        # SOT a dog beside a red car EOT, and SOT cat EOT
        lexemes = [tokens[0, 2:3], tokens[0, 5:7], tokens[1, 1:2]]
        lexemes = torch.stack([each.mean(0) for each in lexemes])
        phrases = model.encode_text(['dog', 'red car', 'cat'])
        scale = torch.tensor(1 / 0.07)
        expected = dict(
            loss_gc=(image, text),
            loss_lrc=(regions, F.normalize(lexemes, dim=-1)),
            loss_gr=(regions, phrases),
        )
        assert losses.keys() == expected.keys()
        for name, (left, right) in expected.items():
            groups = torch.arange(len(left))
            loss = symmetric_info_nce(left, right, groups, scale)
            torch.testing.assert_close(losses[name].detach(), loss)


def test_every_parameter_learns(tiny_model, samples, img):
    losses = tiny_model.train()(img, samples, mode='loss')
    sum(losses.values()).backward()
    for name, param in tiny_model.named_parameters():
        assert param.grad is not None, name
        if 'token_embedding' not in name:
            assert param.grad.abs().sum() > 0, name


def test_batch_without_regions_or_captions(tiny_model, make_sample, img):
    """Legal on any rank: zero losses, and every parameter has a gradient."""
    samples = [make_sample('', []) for _ in range(3)]
    losses = tiny_model(img, samples, mode='loss')
    assert [each.item() for each in losses.values()] == [0, 0, 0]
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in tiny_model.parameters())


def test_equal_phrases_are_positives(tiny_model, make_sample, img):
    samples = [
        make_sample('a dog', [([0.0, 0, 9, 9], 'a dog', True)]),
        make_sample('A dog', [([0.0, 0, 30, 30], 'A dog', True)]),
        make_sample('cat', [([5.0, 0, 30, 30], 'cat', True)]),
    ]
    features = tiny_model.extract_features(
        img, samples, {'regions', 'phrases', 'phrase_keys'}
    )
    dog, cat = phrase_key('the dog'), phrase_key('cat')
    assert features.phrase_keys.tolist() == [dog, dog, cat]
    assert features.image is None
    assert features.lexemes is None


def test_equal_keys_are_equal_lexemes(tiny_model, make_sample):
    box, found, keys = [0.0, 0, 9, 9], [], []
    for caption, phrase in (
        ('a red dog and a cat', 'dog'), ('a red dog', 'dog'),
        ('a blue dog', 'dog'), ('a red dog', 'red dog'), ('dog', 'dog'),
    ):  # fmt: skip
        features = text_features(
            tiny_model.text_encoder,
            [make_sample(caption, [(box, phrase, True)])],
            {'lexemes', 'lexeme_keys'},
        )
        found.append(features['lexemes'][0])
        keys.append(features['lexeme_keys'].item())
    for one, key in zip(found, keys):
        for other, same in zip(found, keys):
            assert (key == same) == torch.allclose(one, other, atol=1e-5)
    assert len(set(keys)) == 4


def test_each_distinct_phrase_is_encoded_once(
    tiny_model, make_sample, img, monkeypatch
):
    seen = []
    encode = tiny_model.text_encoder.forward
    monkeypatch.setattr(
        tiny_model.text_encoder,
        'forward',
        lambda ids, **kwargs: seen.append(len(ids)) or encode(ids, **kwargs),
    )
    box = [0.0, 0.0, 9.0, 9.0]
    samples = [
        make_sample('a dog, a cat', [(box, 'a dog', True)] * 4),
        make_sample('a dog', [(box, 'a dog', True), (box, 'cat', False)]),
        make_sample('a cat', []),
    ]
    tiny_model(img, samples, mode='loss')
    assert seen == [3, 2]  # three captions; 'a dog' and 'cat'


class Copies(TorchFunctionMode):
    """Notes what may copy from the host to the device."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, '__name__', str(func))
        if name in ('tensor', 'as_tensor', 'from_numpy', 'to', 'cuda'):
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def test_copies_to_the_device_do_not_grow_with_the_batch(
    tiny_model, make_sample
):
    """One of the images, and one of each dtype of all samples together."""
    box, found = [0.0, 0.0, 9.0, 9.0], []
    to_device = RegionTextDataPreprocessor('ViT-B-16')
    for size in (1, 7):
        samples = [
            make_sample('a dog', [(box, 'dog', True), (box, 'cat', False)])
            for _ in range(size)
        ]
        images = torch.zeros(size, 3, 32, 32, dtype=torch.uint8)
        batch = dict(inputs=images, data_samples=PackedList(samples))
        with Copies() as moved:
            data = to_device(batch, True)
        with Copies() as computed:
            tiny_model(**data, mode='loss')
        found.append((moved.names, computed.names))
    assert found[0] == found[1]
    moved, computed = found[0]
    assert moved.count('to') == 1 + 3  # float32, int64, bool
    assert not {'tensor', 'as_tensor', 'from_numpy'} & {*moved, *computed}


@pytest.mark.parametrize('mode', ['crop', 'both'])
def test_crop_alignment(tiny_cfg, samples, img, mode):
    tiny_cfg['heads']['gr']['mode'] = mode
    with pytest.raises(ValueError, match='crop_extractor'):
        MODELS.build(tiny_cfg)
    tiny_cfg['crop_extractor'] = dict(type='CropFeatureExtractor')
    model = MODELS.build(tiny_cfg)
    model.init_weights()
    loss = model(img, samples, mode='loss')['loss_gr']
    boxes = [each.gt_instances.bboxes for each in samples]
    regions = torch.cat(model.encode_regions(img, boxes))
    rois = torch.cat(
        [
            torch.cat([torch.full((len(b), 1), float(i)), b], dim=1)
            for i, b in enumerate(boxes)
        ]
    )
    crops = model.encode_image(model.crop_extractor.crop(img, rois, (32, 32)))
    expected = (1 - (regions * crops).sum(1)).mean()
    if mode == 'both':
        phrases = model.encode_text(['dog', 'red car', 'cat'])
        expected = expected + symmetric_info_nce(
            regions, phrases, torch.arange(3), model.logit_scale()[0]
        )
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


def test_predictions(tiny_model, samples, img):
    model = tiny_model.eval()
    samples[0].set_metainfo(dict(scale_factor=(0.5, 2.0)))
    boxes = [each.gt_instances.bboxes.clone() for each in samples]
    with torch.no_grad():
        out = model(img, samples, mode='predict')
        regions = model.encode_regions(img, boxes)
        classes = model.encode_text(
            [f'a photo of a {each}.' for each in ('dog', 'cat', 'red car')]
        )
    for sample, rows in zip(out, regions):
        pred = sample.pred_instances
        probabilities = (rows @ classes.t() / 0.07).softmax(dim=1)
        scores, labels = probabilities.sort(dim=1, descending=True)
        torch.testing.assert_close(pred.topk_scores, scores)
        assert pred.topk_labels.tolist() == labels.tolist()
        assert pred.labels.tolist() == labels[:, 0].tolist()
        torch.testing.assert_close(pred.scores, scores[:, 0])
    # x / 0.5 and y / 2, back in the original image
    expected = boxes[0] * torch.tensor([2.0, 0.5, 2.0, 0.5])
    torch.testing.assert_close(out[0].pred_instances.bboxes, expected)
    torch.testing.assert_close(out[2].pred_instances.bboxes, boxes[2])
    for sample, truth in zip(out, boxes):
        assert torch.equal(sample.gt_instances.bboxes, truth)
    assert len(out[1].pred_instances) == 0
    torch.testing.assert_close(
        torch.stack([each.image_embedding for each in out]),
        model.encode_image(img),
    )
    assert [len(each.text_embeddings) for each in out] == [1, 1, 0]


def test_predictions_do_not_depend_on_the_batch(tiny_model, samples, img):
    model = tiny_model.eval()
    with torch.no_grad():
        alone = [
            model(img[i : i + 1], [samples[i].clone()], mode='predict')[0]
            for i in range(3)
        ]
        together = model(img, samples, mode='predict')
    for one, other in zip(alone, together):
        torch.testing.assert_close(
            one.pred_instances.topk_scores, other.pred_instances.topk_scores
        )
        torch.testing.assert_close(one.image_embedding, other.image_embedding)


def test_predicting_twice_gives_the_same(tiny_model, samples, img):
    model = tiny_model.eval()
    for sample in samples:
        sample.set_metainfo(dict(scale_factor=(0.5, 2.0)))
    with torch.no_grad():
        first = [s.clone() for s in model(img, samples, mode='predict')]
        again = model(img, samples, mode='predict')
    for one, other in zip(first, again):
        for key in ('bboxes', 'scores', 'topk_labels'):
            found = other.pred_instances[key]
            assert torch.equal(one.pred_instances[key], found)
        truth = other.gt_instances.bboxes
        assert torch.equal(one.gt_instances.bboxes, truth)


def test_predictors_answer_what_they_are_asked(tiny_cfg, img, monkeypatch):
    """Boxes alone, captions alone; what is missing is said."""
    boxed = DetDataSample(metainfo=dict(text=['dog', 'cat']))
    boxed.gt_instances = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 9, 9]]), labels=torch.tensor([1])
    )
    captioned = DetDataSample(caption_ids=torch.ones(2, 77).long())
    both = tiny_cfg['predictors']
    for left_out, sample, asked in (
        ('retrieval', boxed, dict(with_pooled=False, with_dense=True)),
        ('boxes', captioned, dict(with_pooled=True, with_dense=False)),
    ):
        tiny_cfg['predictors'] = {**both, left_out: None}
        model = MODELS.build(tiny_cfg)
        model.init_weights()
        encode = Mock(wraps=model.eval().backbone.encode)
        monkeypatch.setattr(model.backbone, 'encode', encode)
        with torch.no_grad():
            (out,) = model(img[:1], [sample.clone()], mode='predict')
        assert ('pred_instances' in out) == (left_out != 'boxes')
        assert ('image_embedding' in out) == (left_out != 'retrieval')
        assert encode.call_args.kwargs == asked  # towers run for no more
    tiny_cfg['predictors'] = both
    model = MODELS.build(tiny_cfg)
    with pytest.raises(DataError, match=r'no caption_ids: .*retrieval=None'):
        model(img[:1], [boxed], mode='predict')
    with pytest.raises(ValueError, match='has no gt_instances'):
        model(img[:1], [captioned], mode='predict')
    boxed.caption_ids = captioned.caption_ids
    boxed.set_metainfo(dict(text=['x']))
    del boxed.text
    with pytest.raises(DataError, match=r'no text: .*return_classes=True'):
        model(img[:1], [boxed], mode='predict')


def test_masks_of_samples_reach_the_extractor(tiny_cfg, samples):
    """BitmapMasks of a batch of unequal sizes, through predict and encode."""
    tiny_cfg['region_extractor'] = dict(type='MaskFeatureExtractor')
    model = MODELS.build(tiny_cfg)
    model.init_weights()
    model.eval()
    img = torch.randn(3, 3, 32, 32)
    with pytest.raises(ValueError, match=r'have no masks.*with_mask=True'):
        model(img, samples, mode='predict')
    bitmaps = []
    for sample, side in zip(samples, (32, 32, 30)):
        count = len(sample.gt_instances)
        bitmap = (torch.rand(count, side, 32) < 0.5).to(torch.uint8)
        bitmaps.append(bitmap)
        sample.gt_instances.masks = BitmapMasks(bitmap.numpy(), side, 32)
    boxes = [each.gt_instances.bboxes.clone() for each in samples]
    with torch.no_grad():
        embeddings = model.encode_regions(img, boxes, bitmaps)
        found = model(img, samples, mode='predict')
        names = ('dog', 'cat', 'red car')
        weight = model.encode_text([f'a photo of a {n}.' for n in names])
    for sample, rows in zip(found, embeddings):
        labels = (rows @ weight.t()).argmax(dim=1)
        assert torch.equal(sample.pred_instances.labels, labels)
        assert 'masks' in sample.gt_instances


def test_api_shapes_and_norms(tiny_model, img):
    model = tiny_model.eval()
    with torch.no_grad():
        dense = model.encode_dense(img)
        texts = model.encode_text(['a', 'b'])
        assert model(img).shape == (3, 16)
    assert dense.shape == (3, 16, 4, 4)
    torch.testing.assert_close(dense.norm(dim=1), torch.ones(3, 4, 4))
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(2))


def test_boxes_of_the_api(tiny_model, img):
    """RoIAlign reads whatever lies behind images that there are not."""
    model, boxes = tiny_model.eval(), [[[0, 0, 20, 20]], [], [[8, 8, 30, 9]]]
    tensors = [torch.tensor(each).reshape(-1, 4).float() for each in boxes]
    arrays = [each.numpy() for each in tensors]
    with torch.no_grad():
        expected = model.encode_regions(img, tensors)
        for given in (boxes, arrays):
            found = model.encode_regions(img, given)
            assert all(map(torch.equal, found, expected))
        assert [len(each) for each in expected] == [1, 0, 1]
        for number in (1, 2, 4):
            with pytest.raises(ValueError, match=f'{number} images for 3'):
                model.encode_regions(img, (tensors * 2)[:number])
        for wrong in (torch.rand(4, 5), torch.rand(4), torch.rand(1, 2, 4)):
            with pytest.raises(ValueError, match=r'\(N, 4\)'):
                model.encode_regions(img, [wrong, *tensors[1:]])
        side, nan = img.shape[-1], float('nan')
        for wrong in (
            [9, 9, 5, 9], [5, 5, 5, 9], [side, 0, side + 9, 9],
            [-9, 0, 0, 9], [nan, 0, 9, 9], [0, 0, 9, float('inf')],
        ):  # fmt: skip
            with pytest.raises(ValueError, match=r'Box 1 of image 2, .* no'):
                model.encode_regions(img, [[], [], [[-2, 0, 9, 9], wrong]])


def test_bad_input(tiny_model, tiny_cfg, img):
    with pytest.raises(RuntimeError, match="'train'"):
        tiny_model(img, mode='train')
    with pytest.raises(ValueError, match='TokenizeRegionText'):
        tiny_model(img, [DetDataSample()] * 3, mode='loss')
    other = dict(tiny_cfg['clip'], embed_dim=8)
    tiny_cfg['text_encoder'] = dict(type='CLIPTextEncoder', clip=other)
    with pytest.raises(ValueError, match='16 in the backbone and 8'):
        MODELS.build(tiny_cfg)
