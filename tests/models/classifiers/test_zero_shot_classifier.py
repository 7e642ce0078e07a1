"""The zero-shot classifier against prompts embedded one by one."""

import copy
import pickle

import open_clip
import pytest
import tiny_clips
import torch
import torch.nn.functional as F

from harmoclip_mm.errors import DataError
from harmoclip_mm.models import CLIPTextEncoder, ZeroShotClassifier
from harmoclip_mm.models.classifiers import zero_shot_classifier
from harmoclip_mm.text import load_vocabulary

CLASSES = ['dog', 'red car', 'fire hydrant']
TEMPLATES = ['a photo of a {}.', '{} on the left', 'There is {article} {}.']


def make_tower(clip=tiny_clips.VIT, seed=0):
    return tiny_clips.shake(CLIPTextEncoder(clip), seed).eval()


@pytest.fixture
def text_encoder():
    return make_tower()


def eot_of(text_encoder, text):
    ids = text_encoder.tokenizer.ids([text])
    return F.normalize(text_encoder(ids).pooled[0], dim=0)


def test_embeddings_are_clip_s_ensemble(text_encoder, monkeypatch):
    monkeypatch.setattr(zero_shot_classifier, 'CHUNK', 4)
    classifier = ZeroShotClassifier(TEMPLATES).eval()
    with torch.no_grad():
        weight = classifier.class_embeddings(CLASSES, text_encoder)
        prompts = [
            'a photo of a red car.',
            'red car on the left',
            'There is a red car.',
        ]
        mean = sum(eot_of(text_encoder, each) for each in prompts) / 3
    torch.testing.assert_close(weight[1], F.normalize(mean, dim=0))


def test_prompts_are_of_the_tower_s_own_length():
    tower = make_tower(tiny_clips.PE)
    lengths = []
    tower.register_forward_pre_hook(
        lambda module, args: lengths.append(args[0].shape)
    )
    with torch.no_grad():
        ZeroShotClassifier('simple').class_embeddings(CLASSES, tower)
    assert lengths == [(3, 32)]


def test_built_once_until_training_goes_on(text_encoder):
    classifier = ZeroShotClassifier('simple').eval()
    with torch.no_grad():
        first = classifier.class_embeddings(CLASSES, text_encoder)
        assert classifier.class_embeddings(CLASSES, text_encoder) is first
        # as moving averages write, which no version of a weight tells
        text_encoder.text.text_projection.data.mul_(-1)
        classifier.train().eval()
        second = classifier.class_embeddings(CLASSES, text_encoder)
    torch.testing.assert_close(second, -first)


def by_loading(tower, other):
    tower.load_state_dict(other.state_dict())


def by_loading_a_part(tower, other):
    tower.text.load_state_dict(other.text.state_dict())


def by_assigning(tower, other):
    tower.load_state_dict(copy.deepcopy(other.state_dict()), assign=True)


def by_steps(tower, other):
    for weight, target in zip(tower.parameters(), other.parameters()):
        weight.sub_(weight - target)


@pytest.mark.parametrize(
    'change', [by_loading, by_loading_a_part, by_assigning, by_steps]
)
@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_other_weights_have_other_embeddings(text_encoder, change, mode):
    classifier = ZeroShotClassifier('simple').eval()
    for seed in (1, 2, 3):
        other = make_tower(seed=seed)
        with mode():
            before = classifier.class_embeddings(CLASSES, text_encoder)
            change(text_encoder, other)
            found = classifier.class_embeddings(CLASSES, text_encoder)
            expected = ZeroShotClassifier('simple').class_embeddings(
                CLASSES, other
            )
        torch.testing.assert_close(found, expected)
        assert not torch.allclose(found, before, atol=0.1)


@torch.no_grad()
def test_threads_may_ask_for_other_classes_meanwhile(text_encoder):
    """Here, while names are compared."""

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            classifier.class_embeddings(['cat'], text_encoder)
            return str.__eq__(self, other)

    words = dict(dog='dog', puppy=Name('dog'), cat='cat')
    classifier = ZeroShotClassifier('none', words).eval()
    expected = classifier.class_embeddings(['dog'], text_encoder)
    found = classifier.class_embeddings(['puppy'], text_encoder)
    assert torch.equal(found, expected)


def test_what_autocast_rounds_is_not_kept_for_later(text_encoder):
    classifier = ZeroShotClassifier('none').eval()
    with torch.no_grad():
        with torch.autocast('cpu', torch.bfloat16):
            rounded = classifier.class_embeddings(CLASSES, text_encoder)
        found = classifier.class_embeddings(CLASSES, text_encoder)
        fresh = ZeroShotClassifier('none').class_embeddings(
            CLASSES, text_encoder
        )
    assert torch.equal(found, fresh) and not torch.equal(found, rounded)


def test_another_tower_or_type_has_other_embeddings(text_encoder):
    classifier = ZeroShotClassifier('simple').eval()
    other = make_tower(seed=1)
    with torch.no_grad():
        first = classifier.class_embeddings(CLASSES, text_encoder)
        assert not torch.allclose(
            classifier.class_embeddings(CLASSES, other), first
        )
        again = classifier.class_embeddings(CLASSES, text_encoder)
        assert torch.equal(again, first)
        text_encoder.double()
        assert classifier.class_embeddings(CLASSES, text_encoder) is not again


def test_the_tower_is_no_part_of_the_classifier(text_encoder):
    classifier = ZeroShotClassifier('simple').eval()
    model = torch.nn.ModuleList([classifier, text_encoder])
    with torch.inference_mode():
        first = classifier.class_embeddings(CLASSES, text_encoder)
    assert not list(classifier.parameters()) and not classifier.state_dict()
    for same, tower in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        with torch.no_grad():
            assert torch.equal(same.class_embeddings(CLASSES, tower), first)
            tiny_clips.shake(tower, 1)
            assert not torch.allclose(
                same.class_embeddings(CLASSES, tower), first
            )
            assert classifier.class_embeddings(CLASSES, text_encoder) is first


def test_gradients_reach_the_tower(text_encoder):
    classifier = ZeroShotClassifier('simple').eval()
    with torch.no_grad():
        classifier.class_embeddings(CLASSES, text_encoder)
    classifier.class_embeddings(
        CLASSES, text_encoder
    ).square().sum().backward()
    assert text_encoder.text.text_projection.grad is not None


def test_words_of_classes(text_encoder):
    assert ZeroShotClassifier().words(['bow_(weapon)', 'TV']) == [
        'bow (weapon)',
        'tv',
    ]
    panoptic = ZeroShotClassifier(prompts='coco_panoptic133')
    assert panoptic.words(['dog', 'wall-brick']) == ['dog', 'brick wall']
    own = ZeroShotClassifier(['a {}'], prompts={'1': 'red car'})
    with torch.no_grad():
        found = own.class_embeddings(['1'], text_encoder)
    expected = eot_of(text_encoder, 'a red car')
    torch.testing.assert_close(found[0], expected)
    with pytest.raises(DataError, match='none for class "2"'):
        own.class_embeddings(['1', '2'], text_encoder)


def test_other_classes_have_other_embeddings(text_encoder):
    classifier = ZeroShotClassifier('simple').eval()
    with torch.no_grad():
        all_of_them = classifier.class_embeddings(CLASSES, text_encoder)
        last = classifier.class_embeddings(CLASSES[2:], text_encoder)
    torch.testing.assert_close(last, all_of_them[2:])


def test_prompts_of_imagenet_are_open_clips():
    """The same tokens, signs in the names included."""
    whole = load_vocabulary('imagenet1000')
    chosen = [
        (name, words)
        for label, (name, words) in enumerate(
            zip(whole.classes, whole.prompts)
        )
        if label % 50 == 0 or not words.replace(' ', '').isalnum()
    ]
    assert any('/' in words for _, words in chosen)
    names, words = zip(*chosen)
    tokenizer = make_tower().tokenizer
    classifier = ZeroShotClassifier('openai80', 'imagenet1000')
    assert classifier.words(names) == list(words)
    ids = tokenizer.ids(classifier._prompts(words))
    templates = open_clip.OPENAI_IMAGENET_TEMPLATES
    texts = [fill(each) for each in words for fill in templates]
    assert torch.equal(ids, open_clip.tokenize(texts))


@pytest.mark.parametrize('names', [('Boat', 'boat'), ('hot_dog', 'Hot dog')])
def test_names_of_one_prompt_are_refused(text_encoder, names):
    """Their scores would tie, and both count as wrong."""
    with pytest.raises(DataError, match=f'{names[0]!r} and {names[1]!r}'):
        ZeroShotClassifier('simple').class_embeddings(names, text_encoder)
    own = ZeroShotClassifier('simple', dict(zip(names, 'ab')))
    assert own.words(names) == ['a', 'b']
