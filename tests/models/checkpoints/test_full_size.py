"""The CLIPs that people use, at full size, against their libraries."""

import gc

import pytest
import torch
from open_clip.factory import create_model, get_tokenizer
from references import randomised

from harmoclip_mm import export_clip, load_clip
from harmoclip_mm.models.checkpoints import read_checkpoint

pytestmark = pytest.mark.slow
NAMES = 'ViT-B-16-quickgelu', 'EVA02-B-16', 'convnext_base_w'
TEXTS = ['a photo of a dog', 'a blue ring beside a red star']


def relative(one, other):
    return ((one - other).abs().max() / other.abs().max()).item()


@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_equal_to_open_clip_and_back(tmp_path, name):
    theirs = randomised(create_model(name, pretrained=None))
    path = tmp_path / 'clip.pt'
    torch.save(theirs.state_dict(), path)
    ours = load_clip(str(path), arch=name)
    assert ours.checkpoint_info['clip'] == name
    img = torch.randn(1, 3, *ours.backbone.img_size)
    pooled = ours.backbone.encode(img, with_dense=False).pooled
    assert relative(pooled, theirs.encode_image(img)) < 1e-5
    text = theirs.encode_text(get_tokenizer(name)(TEXTS), normalize=True)
    assert relative(ours.encode_text(TEXTS), text) < 1e-5
    export_clip(ours, str(tmp_path / 'out'))
    del ours
    gc.collect()
    exported = read_checkpoint(str(tmp_path / 'out')).weights
    expected = theirs.state_dict()
    assert len(exported) == len(expected)
    for key, value in expected.items():
        key = (
            key
            if key.startswith(('visual', 'logit', 'text.'))
            else f'text.{key}'
        )
        assert torch.equal(exported[key], value), key


@torch.no_grad()
def test_equal_to_transformers_and_back(tmp_path):
    import transformers

    theirs = randomised(transformers.CLIPModel(transformers.CLIPConfig()))
    theirs.save_pretrained(tmp_path / 'in')  # B/32
    ours = load_clip(str(tmp_path / 'in'), arch='ViT-B-32-quickgelu')
    img = torch.randn(1, 3, 224, 224)
    ids = get_tokenizer('ViT-B-32')(TEXTS)
    image, text = theirs.get_image_features(img), theirs.get_text_features(ids)
    assert relative(ours.backbone.encode(img).pooled, image) < 1e-5
    assert relative(ours.text_encoder(ids).pooled, text) < 1e-5
    export_clip(ours, str(tmp_path / 'out'), 'huggingface')
    back = transformers.CLIPModel.from_pretrained(tmp_path / 'out').eval()
    found, expected = back.state_dict(), theirs.state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@torch.no_grad()
def test_siglip_2_of_transformers_by_its_sizes(tmp_path):
    """Without a name; the activations of B/16 are near to, not the same."""
    import transformers

    config = transformers.SiglipConfig(text_config=dict(vocab_size=256000))
    theirs = randomised(transformers.SiglipModel(config))
    theirs.save_pretrained(tmp_path)
    ours = load_clip(str(tmp_path))
    ids = torch.randint(1, 256000, (2, 64))
    text = theirs.get_text_features(ids)
    assert relative(ours.text_encoder(ids).pooled, text) < 1e-5
    img = torch.randn(1, 3, 224, 224)
    image = theirs.get_image_features(img)
    assert relative(ours.backbone.encode(img).pooled, image) < 1e-2
