import torch
import torch.nn.functional as F
from tiny_clips import VIT, shake

from harmoclip_mm.models.towers import CLIPTextEncoder


def test_distinct_texts_are_encoded_once(monkeypatch):
    encoder = shake(CLIPTextEncoder(clip=VIT)).eval()
    texts = [['a dog', 'a red car', 'a dog'], [], ['a cat', 'a red car']]
    ids = [encoder.tokenizer.ids(each) for each in texts]
    seen = []
    forward = encoder.forward

    def counting(rows, **kwargs):
        seen.append(len(rows))
        return forward(rows, **kwargs)

    monkeypatch.setattr(encoder, 'forward', counting)
    with torch.no_grad():
        found = encoder.embed(ids, chunk_size=2)
        assert seen == [2, 1]
        assert [each.shape for each in found] == [(3, 24), (0, 24), (2, 24)]
        for rows, each in zip(found, texts):
            for row, text in zip(rows, each):
                alone = forward(encoder.tokenizer.ids(text)).pooled[0]
                alone = F.normalize(alone, dim=0)
                assert torch.allclose(row, alone, atol=1e-6)
        assert torch.equal(found[0][0], found[0][2])
        assert torch.equal(found[0][1], found[2][1])
        # no text at all
        (none,) = encoder.embed([torch.zeros(0, 77).long()])
        assert none.shape == (0, 24)
