"""The zero-shot classifier against prompts embedded one by one."""

import copy
import os
import pickle

import open_clip
import pytest
import tiny_clips
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.fsdp import FullyShardedDataParallel

from harmoclip_mm.models import CLIPTextEncoder, ZeroShotClassifier
from harmoclip_mm.text import Vocabulary, load_vocabulary

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


def test_eot_is_clip_s_ensemble(text_encoder):
    classifier = ZeroShotClassifier(CLASSES, TEMPLATES, chunk_size=4).eval()
    with torch.no_grad():
        weight = classifier.class_embeddings(text_encoder)
        prompts = [
            'a photo of a red car.',
            'red car on the left',
            'There is a red car.',
        ]
        mean = sum(eot_of(text_encoder, each) for each in prompts) / 3
    torch.testing.assert_close(weight[1], F.normalize(mean, dim=0))


def test_lexeme_averages_the_class_s_own_tokens(text_encoder):
    classifier = ZeroShotClassifier(
        CLASSES, ['a photo of a {}.'], mode='lexeme'
    ).eval()
    both = ZeroShotClassifier(
        CLASSES, ['a photo of a {}.'], mode='both'
    ).eval()
    with torch.no_grad():
        prompt = 'a photo of a red car.'
        ids = text_encoder.tokenizer.ids([prompt])
        tokens = text_encoder(ids).tokens[0]
        # SOT a photo of a red car . EOT: red and car are tokens 5 and 6
        lexeme = F.normalize(tokens[5:7].mean(dim=0), dim=0)
        torch.testing.assert_close(
            classifier.class_embeddings(text_encoder)[1], lexeme
        )
        expected = F.normalize(lexeme + eot_of(text_encoder, prompt), dim=0)
        torch.testing.assert_close(
            both.class_embeddings(text_encoder)[1], expected
        )


def test_prompts_are_of_the_tower_s_own_length():
    tower = make_tower(tiny_clips.PE)
    with torch.no_grad():
        for mode in ('eot', 'both'):
            classifier = ZeroShotClassifier(CLASSES, 'simple', mode=mode)
            ids, _ = classifier._prompts(tower.tokenizer)
            assert ids.shape == (3, 32)
            classifier.class_embeddings(tower)


def test_lexemes_of_a_tower_that_reads_padding():
    """SigLIP pools at its last token; a class has its own tokens alone."""
    tower = make_tower(tiny_clips.SIGLIP)
    classifier = ZeroShotClassifier(['red car'], ['a {}'], mode='lexeme')
    with torch.no_grad():
        tokens = tower(tower.tokenizer.ids(['a red car'])).tokens[0]
        expected = F.normalize(tokens[2:4].mean(dim=0), dim=0)
        found = classifier.class_embeddings(tower)
    torch.testing.assert_close(found[0], expected)


def test_built_once_until_training_goes_on(text_encoder):
    classifier = ZeroShotClassifier(CLASSES, 'simple').eval()
    with torch.no_grad():
        first = classifier.class_embeddings(text_encoder)
        assert classifier.class_embeddings(text_encoder) is first
        # as moving averages write, which no version of a weight tells
        text_encoder.text.text_projection.data.mul_(-1)
        classifier.train().eval()
        second = classifier.class_embeddings(text_encoder)
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
    classifier = ZeroShotClassifier(CLASSES, 'simple').eval()
    for seed in (1, 2, 3):
        other = make_tower(seed=seed)
        with mode():
            before = classifier.class_embeddings(text_encoder)
            change(text_encoder, other)
            found = classifier.class_embeddings(text_encoder)
            expected = ZeroShotClassifier(CLASSES, 'simple').class_embeddings(
                other
            )
        torch.testing.assert_close(found, expected)
        assert not torch.allclose(found, before, atol=0.1)


def test_another_tower_or_type_has_other_embeddings(text_encoder):
    classifier = ZeroShotClassifier(CLASSES, 'simple').eval()
    other = make_tower(seed=1)
    with torch.no_grad():
        first = classifier.class_embeddings(text_encoder)
        assert not torch.allclose(classifier.class_embeddings(other), first)
        again = classifier.class_embeddings(text_encoder)
        assert torch.equal(again, first)
        text_encoder.double()
        assert classifier.class_embeddings(text_encoder) is not again


def test_the_tower_is_no_part_of_the_classifier(text_encoder):
    classifier = ZeroShotClassifier(CLASSES, 'simple').eval()
    model = torch.nn.ModuleList([classifier, text_encoder])
    with torch.inference_mode():
        first = classifier.class_embeddings(text_encoder)
    assert not list(classifier.parameters()) and not classifier.state_dict()
    for same, tower in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        with torch.no_grad():
            assert torch.equal(same.class_embeddings(tower), first)
            tiny_clips.shake(tower, 1)
            assert not torch.allclose(same.class_embeddings(tower), first)
            assert classifier.class_embeddings(text_encoder) is first


class Scores(torch.nn.Module):
    """Embeddings of the classes, for one tower that is a unit of its own and
    one that is not."""

    def __init__(self, towers):
        super().__init__()
        self.towers = torch.nn.ModuleList(towers)
        self.classifiers = torch.nn.ModuleList(
            ZeroShotClassifier(CLASSES, 'simple') for _ in towers
        )

    def forward(self):
        return [
            classifier.class_embeddings(tower)
            for classifier, tower in zip(self.classifiers, self.towers)
        ]


def score_sharded(rank, port, folder):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    dist.init_process_group('gloo', rank=rank, world_size=2)
    model = Scores([make_tower(), make_tower(seed=1)])
    units = {model.towers[1]}
    sharded = FullyShardedDataParallel(
        model,
        use_orig_params=True,
        auto_wrap_policy=lambda module, recurse, **_: (
            recurse or module in units
        ),
        device_id=torch.device('cpu'),
    ).eval()
    with torch.no_grad():
        first = sharded()
        again = [sharded() for _ in range(3)]
    built_once = all(
        one is other for found in again for one, other in zip(first, found)
    )
    torch.save((first, built_once), os.path.join(folder, f'{rank}.pth'))
    dist.destroy_process_group()


@pytest.mark.slow
def test_shards_are_no_other_weights(run_ranks, tmp_path):
    """A rank that built the embeddings anew would wait for the others."""
    run_ranks(score_sharded, 2, str(tmp_path))
    with torch.no_grad():
        expected = Scores([make_tower(), make_tower(seed=1)])()
    for rank in (0, 1):
        found, built_once = torch.load(tmp_path / f'{rank}.pth')
        assert built_once
        for one, other in zip(found, expected):
            torch.testing.assert_close(one, other)


def test_gradients_reach_the_tower(text_encoder):
    classifier = ZeroShotClassifier(CLASSES, 'simple').eval()
    with torch.no_grad():
        classifier.class_embeddings(text_encoder)
    classifier.class_embeddings(text_encoder).square().sum().backward()
    assert text_encoder.text.text_projection.grad is not None


def test_logits(text_encoder):
    classifier = ZeroShotClassifier(CLASSES, 'simple').eval()
    with torch.no_grad():
        weight = classifier.class_embeddings(text_encoder)
        logits = classifier(weight, text_encoder, torch.tensor(10.0))
        biased = classifier(
            weight, text_encoder, torch.tensor(10.0), torch.tensor(-3.0)
        )
    torch.testing.assert_close(logits, 10 * weight @ weight.t())
    torch.testing.assert_close(logits.diag(), torch.full((3,), 10.0))
    torch.testing.assert_close(biased, logits - 3)


def test_bad_input():
    with pytest.raises(ValueError, match=r"mode 'EOT'.*'lexeme'"):
        ZeroShotClassifier(CLASSES, mode='EOT')
    with pytest.raises(ValueError, match='empty'):
        ZeroShotClassifier([])


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
    vocabulary = Vocabulary(names, {}, words)
    tokenizer = make_tower().tokenizer
    classifier = ZeroShotClassifier(vocabulary, 'openai80')
    ids, _ = classifier._prompts(tokenizer)
    spanned = ZeroShotClassifier(vocabulary, 'openai80', mode='lexeme')
    same, masks = spanned._prompts(tokenizer)
    assert torch.equal(same, ids) and masks.any(dim=1).all()
    templates = open_clip.OPENAI_IMAGENET_TEMPLATES
    texts = [fill(each) for each in words for fill in templates]
    assert torch.equal(ids, open_clip.tokenize(texts))
