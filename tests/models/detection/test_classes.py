"""Class names: from the data set, kept in checkpoints, held against a CLIP."""

import copy
import json

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import load_checkpoint, save_checkpoint

from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.models.classifiers import encode_vocabulary
from harmoclip_mm.models.detection import open_vocabulary_detector
from harmoclip_mm.text import Vocabulary, load_vocabulary

NAMES = ['red star', 'cat', 'Ångström']
BASE, CLASSES = ('dog', 'red_car'), ('dog', 'cat', 'red_car')


def write(clip, path, names=(*CLASSES, 'red star')):
    found = encode_vocabulary(
        clip.text_encoder,
        clip.backbone,
        load_vocabulary(list(names)),
        'simple',
    )
    found.save(path)
    return str(path)


def naming(batch, *lists):
    """The batch with these lists of names, or none."""
    img, samples = copy.deepcopy(batch)
    for sample, names in zip(samples, lists * 2):
        del sample.text
        if names is not None:
            sample.set_metainfo(dict(text=names))
    return img, samples


@torch.no_grad()
def predict(model, batch, classes=None):
    img, samples = naming(batch, classes)
    samples = model.eval().predict(img, samples)
    return [each.pred_instances for each in samples]


def assert_same(one, other):
    for each, same in zip(one, other):
        for key in ('bboxes', 'scores', 'labels'):
            torch.testing.assert_close(each[key], same[key])


@pytest.fixture
def model(build, cfg):
    return build(cfg)


@pytest.fixture
def trained(model, batch):
    """A model after a step."""
    model.train().loss(*copy.deepcopy(batch))
    return model.eval()


@pytest.fixture
def novel(model, monkeypatch):
    """The novel flags of each prediction of ``model``."""
    found = []
    original = model.roi_head.predict

    def spy(*args, **kwargs):
        found.append(model.roi_head.is_novel.tolist())
        return original(*args, **kwargs)

    monkeypatch.setattr(model.roi_head, 'predict', spy)
    return found


def test_the_data_set_names_the_classes(trained, batch, novel):
    before = predict(trained, batch, CLASSES)
    assert trained.roi_head.bbox_head.num_classes == 3
    assert max(int(each.labels.max()) for each in before) == 2
    # in another order; equal scores may be in another order, too
    place = torch.tensor([1, 2, 0])
    for each, other in zip(
        before, predict(trained, batch, ['red_car', 'dog', 'cat'])
    ):
        torch.testing.assert_close(each.scores, other.scores)
        assert torch.equal(place[each.labels], other.labels)
    # what it was not trained on is novel
    assert novel == [[False, True, False], [False, False, True]]
    # one prompt, whatever the spelling of another data set
    predict(trained, batch, ['Red car', 'cat', 'Dog'])
    assert novel[-1] == [False, True, False]
    # other classes are asked in between
    trained.set_vocabulary(NAMES)
    assert_same(predict(trained, batch, CLASSES), before)


def test_samples_without_names_ask_for_those_set_or_trained(
    trained, batch, novel
):
    assert_same(predict(trained, batch), predict(trained, batch, BASE))
    trained.set_vocabulary(NAMES)
    assert_same(predict(trained, batch), predict(trained, batch, NAMES))
    trained.set_vocabulary('lvis1203')
    predict(trained, batch)
    assert len(novel[-1]) == 1203 and sum(novel[-1]) == 1202  # but the dog
    # the words of a vocabulary are those of its file
    trained.set_vocabulary(Vocabulary(('x', 'y'), prompts=('dog', 'cat')))
    predict(trained, batch)
    rows = trained.roi_head.bbox_head.class_rows
    predict(trained, batch, ['dog', 'cat'])
    assert torch.equal(rows, trained.roi_head.bbox_head.class_rows)
    assert novel[-2:] == [[True, True], [False, True]]


def test_the_training_takes_the_classes_of_its_samples(
    model, cfg, build, batch, tmp_path
):
    """Whatever was predicted before; the federated loss follows."""
    file = tmp_path / 'categories.json'
    counts = dict(cat=1, red_car=9, dog=16)
    file.write_text(
        json.dumps(
            [
                dict(id=i, name=name, image_count=count)
                for i, (name, count) in enumerate(counts.items())
            ]
        )
    )
    cfg.roi_head.bbox_head.loss_cls = dict(
        type='harmoclip_mm.FederatedCrossEntropyLoss', frequencies=str(file)
    )
    model = build(cfg)
    values = []
    for classes in (BASE, CLASSES, BASE):
        predict(model, batch, NAMES)
        torch.manual_seed(1)
        losses = model.train().loss(*naming(batch, classes))
        values.append(losses['loss_cls'])
        weights = [counts[name] ** 0.5 for name in classes]
        assert model.roi_head.bbox_head.loss_cls.weights.tolist() == weights
        assert model.trained_classes == classes
    torch.testing.assert_close(values[0], values[2])


def test_without_names(model, batch):
    with pytest.raises(DataError, match='return_classes=True'):
        predict(model, batch)
    with pytest.raises(DataError, match='return_classes=True'):
        model.loss(*naming(batch, None))
    model.loss(*batch)
    # labels of unknown names are never trained on
    with pytest.raises(DataError, match='return_classes=True'):
        model.loss(*naming(batch, None))


@pytest.mark.parametrize(
    'lists, complaint',
    [
        ((BASE, CLASSES), 'different classes'),
        ((BASE, None), 'different classes'),
        (('dog . cat',), 'a list of names'),
    ],
)
def test_one_list_a_batch(model, batch, lists, complaint):
    for run in (model.loss, model.predict):
        with pytest.raises(DataError, match=complaint):
            run(*naming(batch, *lists))


def test_a_checkpoint_brings_its_classes(trained, build, cfg, batch, tmp_path):
    model = trained
    model.loss(*naming(batch, ['Ångström', 'red_car']))
    expected = predict(model, batch)
    path = str(tmp_path / 'a.pth')
    save_checkpoint(dict(state_dict=model.state_dict()), path)
    torch.load(path, weights_only=True)
    other = build(cfg)
    other.loss(*batch)
    load_checkpoint(other, path, map_location='cpu', strict=True)
    assert other.trained_classes == ('Ångström', 'red_car')
    assert_same(predict(other, batch), expected)
    # which a training on others replaces
    other.loss(*batch)
    assert other.trained_classes == BASE


def test_too_many_names(model, batch, monkeypatch):
    monkeypatch.setattr(open_vocabulary_detector, 'RECORD_SIZE', 64)
    with pytest.raises(DataError, match='room for 64'):
        model.loss(*batch)


@pytest.mark.parametrize('update_buffers', [False, True])
def test_a_moving_average_keeps_the_classes(
    build, cfg, batch, update_buffers, tmp_path
):
    """It copies the model before there are any, as EMAHook."""
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
    assert copied.trained_classes == model.trained_classes == BASE
    assert not torch.equal(
        copied.roi_head.bbox_head.background,
        model.roi_head.bbox_head.background,
    )
    path = str(tmp_path / 'average.pth')
    save_checkpoint(dict(state_dict=copied.state_dict()), path)
    again = build(cfg)
    load_checkpoint(again, path, strict=True)
    assert_same(predict(again, batch), predict(copied, batch))


@pytest.fixture
def alone(build, cfg, clip, tmp_path):
    """Builds a detector without a text tower, on a file of embeddings."""

    def build_detector(change=None):
        weights = change and getattr(clip, change[0]).get_parameter(change[1])
        if change:
            weights.data.add_(1)
        cfg.text_encoder = None
        head = cfg.roi_head.bbox_head
        head.text_embeddings = write(clip, tmp_path / 'a.npz')
        if change:
            weights.data.sub_(1)
        return build(cfg)

    return build_detector


def test_embeddings_of_a_file_equal_those_of_names(trained, batch, alone):
    expected = predict(trained, batch, CLASSES)
    model = alone()
    model.load_state_dict(
        {
            k: v
            for k, v in trained.state_dict().items()
            if not k.startswith('text_')
        }
    )
    assert_same(predict(model, batch, CLASSES), expected)
    model.loss(*batch)
    model.set_vocabulary(['red star', 'dog'])
    predict(model, batch)
    assert model.roi_head.bbox_head.num_classes == 2
    with pytest.raises(DataError, match="no class 'sun'"):
        predict(model, batch, ['sun'])
    with pytest.raises(DataError, match="no class 'sun'"):
        model.set_vocabulary(['sun'])
    predict(model, batch)  # what was asked before


def test_a_file_of_another_clip_is_refused(alone, trained, batch, build, cfg):
    vision = ('backbone', 'visual.class_embedding')
    with pytest.raises(UsageError, match='another vision tower than'):
        alone(vision).loss(*batch)
    model = alone(('text_encoder', 'text.ln_final.bias'))
    model.loss(*batch)  # nothing tells yet
    model.load_state_dict(
        {
            k: v
            for k, v in trained.state_dict().items()
            if not k.startswith('text_')
        }
    )
    for _ in range(2):
        with pytest.raises(UsageError, match='another text tower than'):
            predict(model, batch, CLASSES)
    # where both are there, the file is held against the tower
    cfg.text_encoder = dict(type='harmoclip_mm.CLIPTextEncoder')
    with pytest.raises(UsageError, match='another text tower than'):
        build(cfg).set_vocabulary(['dog'])


def test_rounded_weights_are_not_held_against_a_file(alone):
    alone(('backbone', 'visual.proj')).to(torch.bfloat16).set_vocabulary(
        ['dog']
    )


@pytest.mark.parametrize(
    'classes, complaint',
    [
        ([], 'vocabulary is empty'),
        (['a', 'a'], 'Duplicate class names'),
    ],
)
def test_errors_leave_the_vocabulary_as_it_was(
    model, batch, classes, complaint
):
    model.set_vocabulary(NAMES)
    before = predict(model, batch)
    with pytest.raises(ValueError, match=complaint):
        model.set_vocabulary(classes)
    assert_same(predict(model, batch), before)


def test_nothing_to_encode_with(build, cfg):
    cfg.text_encoder = None
    with pytest.raises(UsageError, match='text_embeddings=FILE'):
        build(cfg)


def test_init_cfg_reads_a_clip_into_both_towers(build, cfg, clip, clip_file):
    cfg.init_cfg = dict(type='Pretrained', checkpoint=clip_file)
    model = build(cfg, load=False)
    for name in ('backbone', 'text_encoder'):
        own = getattr(model, name).state_dict()
        for key, value in getattr(clip, name).state_dict().items():
            assert torch.equal(own[key], value), key
    assert not any(w.requires_grad for w in model.text_encoder.parameters())
