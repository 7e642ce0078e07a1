"""Vocabularies: exchanged, kept in checkpoints, held against their CLIP."""

import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import load_checkpoint, save_checkpoint

from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.classifiers import TextEmbeddings, encode_vocabulary
from harmoclip_mm.text import load_vocabulary

NAMES = ['red star', 'cat', 'Ångström']


def write(clip, path, names=('dog', 'cat', 'red_car', 'red star')):
    found = encode_vocabulary(
        clip.text_encoder,
        clip.backbone,
        load_vocabulary(list(names)),
        'simple',
    )
    found.save(path)
    return str(path)


@torch.no_grad()
def predict(model, batch):
    img, samples = batch
    samples = model.eval().predict(img, copy.deepcopy(samples))
    return [each.pred_instances for each in samples]


def assert_same(one, other):
    for each, same in zip(one, other):
        for key in ('bboxes', 'scores', 'labels'):
            torch.testing.assert_close(each[key], same[key])


@pytest.fixture
def model(build, cfg):
    return build(cfg)


def weights(model):
    return {k: v.clone() for k, v in model.named_parameters()}


def test_the_same_names_give_the_same_scores(model, batch):
    before, trained = predict(model, batch), weights(model)
    model.set_vocabulary(NAMES)
    assert model.roi_head.bbox_head.num_classes == 3
    assert max(int(each.labels.max()) for each in predict(model, batch)) == 2
    assert model.memory.is_novel.all()
    model.set_vocabulary(['dog', 'cat', 'red_car'])
    assert_same(predict(model, batch), before)
    after = weights(model)
    assert all(torch.equal(w, after[k]) for k, w in trained.items())


def test_order_of_names_is_the_order_of_labels(model, batch):
    before = predict(model, batch)
    model.set_vocabulary(['red_car', 'dog', 'cat'])
    # Equal scores may be in another order.
    place = torch.tensor([1, 2, 0])
    for each, other in zip(before, predict(model, batch)):
        torch.testing.assert_close(each.scores, other.scores)
        assert torch.equal(place[each.labels], other.labels)


def test_what_was_not_trained_is_novel(model):
    model.set_vocabulary(['cat', 'dog', 'sun'])
    assert model.memory.is_novel.tolist() == [True, False, True]
    model.set_vocabulary(['cat', 'dog', 'sun'], novel=['sun'])
    assert model.memory.is_novel.tolist() == [False, False, True]
    model.set_vocabulary('lvis1203', novel='rare', templates='none')
    assert model.memory.is_novel.sum() == 337
    assert model.memory.read().templates == ('{}',)


def test_training_goes_on_with_the_base_classes(model, batch):
    torch.manual_seed(1)
    model.train()
    before = model.loss(*copy.deepcopy(batch))
    model.set_vocabulary(NAMES)
    assert model.train().roi_head.bbox_head.num_classes == 2
    torch.manual_seed(1)
    after = model.loss(*copy.deepcopy(batch))
    torch.testing.assert_close(before['loss_cls'], after['loss_cls'])


def test_embeddings_of_a_file_equal_those_of_names(
    model, build, cfg, batch, clip, tmp_path
):
    path = write(clip, tmp_path / 'a.npz')
    expected = predict(model, batch)
    state = model.state_dict()
    model.set_vocabulary(['dog', 'cat', 'red_car'], text_embeddings=path)
    assert_same(predict(model, batch), expected)
    model.set_vocabulary(text_embeddings=path)
    assert model.memory.read().classes[-1] == 'red star'
    # in a config, without a text tower
    cfg.text_encoder = None
    vocabulary = cfg.roi_head.bbox_head.vocabulary
    vocabulary.pop('templates')
    vocabulary.text_embeddings = path
    alone = build(cfg)
    alone.load_state_dict(
        {k: v for k, v in state.items() if not k.startswith('text_')}
    )
    assert_same(predict(alone, batch), expected)
    with pytest.raises(UsageError, match='no text_encoder to encode class'):
        alone.set_vocabulary(['sun'])
    alone.set_vocabulary(text_embeddings=path)
    assert alone.memory.embeddings.shape == (4, 24)


def test_a_checkpoint_brings_its_vocabulary(
    model, build, cfg, batch, tmp_path
):
    model.set_vocabulary(NAMES, novel=['red star'])
    expected = predict(model, batch)
    path = str(tmp_path / 'a.pth')
    save_checkpoint(dict(state_dict=model.state_dict()), path)
    torch.load(path, weights_only=True)
    cfg.roi_head.bbox_head.vocabulary = dict(classes=['x', 'y'])
    cfg.text_encoder = None
    other = build(cfg)
    load_checkpoint(other, path, map_location='cpu', strict=False)
    record = other.memory.read()
    assert list(record.classes) == NAMES
    assert record.base == ('dog', 'red_car')
    assert other.memory.is_novel.tolist() == [True, False, False]
    assert other.roi_head.bbox_head.num_classes == 3
    assert other.train().roi_head.bbox_head.num_classes == 2
    assert_same(predict(other, batch), expected)
    with pytest.raises(ValueError, match="trained on \\['dog'\\]"):
        other.memory.replace_classes(
            load_vocabulary(['dog']), other.memory.as_embeddings(), ['dog']
        )


@pytest.mark.parametrize('update_buffers', [False, True])
def test_a_moving_average_keeps_the_vocabulary(
    build, cfg, batch, update_buffers, tmp_path
):
    """It copies the model before the vocabulary is encoded, as EMAHook."""
    model = build(cfg).train()
    average = ExponentialMovingAverage(
        model, momentum=0.5, update_buffers=update_buffers
    )
    for _ in range(3):
        loss, _ = model.parse_losses(model.loss(*copy.deepcopy(batch)))
        loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.grad is not None:
                    weight -= 0.01 * weight.grad
        model.zero_grad()
        average.update_parameters(model)
    copied = average.module
    assert copied.memory.read() == model.memory.read()
    for name, buffer in model.memory.named_buffers():
        torch.testing.assert_close(copied.memory.get_buffer(name), buffer)
    assert not torch.equal(
        copied.roi_head.bbox_head.background,
        model.roi_head.bbox_head.background,
    )
    path = str(tmp_path / 'average.pth')
    save_checkpoint(dict(state_dict=copied.state_dict()), path)
    again = build(cfg)
    load_checkpoint(again, path, strict=True)
    assert_same(predict(again, batch), predict(copied, batch))


def test_another_clip_is_refused(model, build, cfg, clip, tmp_path):
    path = write(clip, tmp_path / 'a.npz')
    with torch.no_grad():
        clip.backbone.visual.class_embedding.add_(1)
    other = write(clip, tmp_path / 'b.npz')
    with pytest.raises(UsageError, match='another vision tower than'):
        model.set_vocabulary(text_embeddings=other)
    with torch.no_grad():
        clip.backbone.visual.class_embedding.sub_(1)
        clip.text_encoder.text.ln_final.bias.add_(1)
    other = write(clip, tmp_path / 'c.npz')
    with pytest.raises(UsageError, match='another text tower than'):
        model.set_vocabulary(text_embeddings=other)
    # in the config: told at the first step, when the weights are there
    cfg.text_encoder = None
    cfg.roi_head.bbox_head.vocabulary.text_embeddings = path
    alone = build(cfg)
    with torch.no_grad():
        alone.backbone.visual.proj.add_(1)
    with pytest.raises(UsageError, match='another vision tower than'):
        alone.prepare_vocabulary()


def test_another_width_is_refused(model, tmp_path):
    model.prepare_vocabulary()
    found = model.memory.as_embeddings()
    narrow = TextEmbeddings(
        found.embeddings[:, :8],
        found.classes,
        found.templates,
        found.mode,
        found.text_fingerprint,
        found.vision_fingerprint,
    )
    narrow.save(tmp_path / 'narrow.npz')
    with pytest.raises(UsageError, match='8 dimensions, but the detector ha'):
        model.set_vocabulary(text_embeddings=tmp_path / 'narrow.npz')


def test_rounded_weights_are_not_held_against_a_file(
    model, build, cfg, clip, tmp_path
):
    cfg.text_encoder = None
    vocabulary = cfg.roi_head.bbox_head.vocabulary
    vocabulary.text_embeddings = write(clip, tmp_path / 'a.npz')
    build(cfg).to(torch.bfloat16).prepare_vocabulary()


@pytest.mark.parametrize(
    'asked, complaint',
    [
        (dict(), 'needs classes or a file'),
        (dict(classes=[]), 'vocabulary is empty'),
        (dict(classes=['a', 'a']), 'Duplicate class names'),
        (dict(classes=['dog', 'sun'], novel=['dog']), 'was trained on'),
        (dict(classes=['sun'], novel=['moon']), 'not in the vocabulary'),
        (dict(classes=['a'], templates='none', mode='x'), "mode 'x'"),
    ],
)
def test_errors_leave_the_vocabulary_as_it_was(model, asked, complaint):
    model.prepare_vocabulary()
    before = model.memory.read()
    with pytest.raises(ValueError, match=complaint):
        model.set_vocabulary(**asked)
    assert model.memory.read() == before


def test_nothing_to_encode_with(build, cfg, batch):
    cfg.text_encoder = None
    with pytest.raises(UsageError, match='give it one, or text_embeddings='):
        predict(build(cfg), batch)


def test_another_width_in_a_checkpoint_is_an_error(model):
    wide = copy.deepcopy(model.memory)
    wide._keep(embeddings=torch.zeros(3, 8))
    with pytest.raises(RuntimeError, match='size mismatch for embeddings'):
        model.memory.load_state_dict(wide.state_dict())


def test_init_cfg_reads_a_clip_into_both_towers(build, cfg, clip, clip_file):
    cfg.init_cfg = dict(type='Pretrained', checkpoint=clip_file)
    model = build(cfg, load=False)
    for name in ('backbone', 'text_encoder'):
        own = getattr(model, name).state_dict()
        for key, value in getattr(clip, name).state_dict().items():
            assert torch.equal(own[key], value), key
    assert not any(w.requires_grad for w in model.text_encoder.parameters())
