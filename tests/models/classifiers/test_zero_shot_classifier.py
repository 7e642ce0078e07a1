"""The zero-shot classifier against prompts embedded one by one."""

import open_clip
import pytest
import torch
import torch.nn.functional as F

from harmoclip_mm.models import CLIPTextTransformer, ZeroShotClassifier
from harmoclip_mm.text import CLIPTokenizer, Vocabulary, load_vocabulary

CLASSES = ['dog', 'red car', 'fire hydrant']
TEMPLATES = ['a photo of a {}.', '{} on the left', 'There is {article} {}.']


@pytest.fixture
def text_encoder():
    tower = CLIPTextTransformer(
        embed_dims=32, num_layers=2, num_heads=2, out_dims=16
    )
    tower.init_weights()
    return tower.eval()


def eot_of(text_encoder, text):
    return F.normalize(text_encoder(CLIPTokenizer()([text])).pooled[0], dim=0)


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
        tokens = text_encoder(CLIPTokenizer()([prompt])).tokens[0]
        # SOT a photo of a red car . EOT: red and car are tokens 5 and 6
        lexeme = F.normalize(tokens[5:7].mean(dim=0), dim=0)
        torch.testing.assert_close(
            classifier.class_embeddings(text_encoder)[1], lexeme
        )
        expected = F.normalize(lexeme + eot_of(text_encoder, prompt), dim=0)
        torch.testing.assert_close(
            both.class_embeddings(text_encoder)[1], expected
        )


def test_built_once_until_training_goes_on(text_encoder):
    classifier = ZeroShotClassifier(CLASSES, 'simple').eval()
    with torch.no_grad():
        first = classifier.class_embeddings(text_encoder)
        assert classifier.class_embeddings(text_encoder) is first
        text_encoder.proj.weight.mul_(-1)
        classifier.train().eval()
        second = classifier.class_embeddings(text_encoder)
    torch.testing.assert_close(second, -first)


def test_logits(text_encoder):
    classifier = ZeroShotClassifier(CLASSES, 'simple').eval()
    with torch.no_grad():
        weight = classifier.class_embeddings(text_encoder)
        logits = classifier(weight, text_encoder, torch.tensor(10.0))
    torch.testing.assert_close(logits, 10 * weight @ weight.t())
    torch.testing.assert_close(logits.diag(), torch.full((3,), 10.0))


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
    ids, _ = ZeroShotClassifier(vocabulary, 'openai80')._prompts()
    templates = open_clip.OPENAI_IMAGENET_TEMPLATES
    texts = [fill(each) for each in words for fill in templates]
    assert torch.equal(ids, open_clip.tokenize(texts))
