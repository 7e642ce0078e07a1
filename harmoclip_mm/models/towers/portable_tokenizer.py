"""A CLIP's tokenizer as a file of the library ``tokenizers`` alone."""

from typing import List, Optional

from open_clip.tokenizer import SimpleTokenizer
from tokenizers import (
    Regex,
    Tokenizer,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.models import BPE

from .tokenizer import CLIPTokenizer, hugging_face_tokenizer

_SAMPLES = (
    'a dog',
    "The dog's 2 red-and-white balls, isn't it?",
    'caf\u00e9 \U0001f600',
    '  ',
    'word ' * 200,
)


def portable_tokenizer(tokenizer: CLIPTokenizer) -> Optional[Tokenizer]:
    """Makes a tokenizer that needs neither torch nor open_clip.

    What open_clip cleans before (broken encodings and HTML by ftfy, and
    punctuation for SigLIP) is not in it: for clean words in lower case ids
    are the CLIP's.

    Returns:
        Tokenizer: It, with padding and truncation to the context length;
        None where the ids of some samples differ.
    """
    theirs = hugging_face_tokenizer(tokenizer)
    if theirs is None:
        found = _byte_pairs(tokenizer.context_length)
    else:
        found = Tokenizer.from_str(theirs.backend_tokenizer.to_str())
        found.enable_truncation(tokenizer.context_length)
        found.enable_padding(
            pad_id=theirs.pad_token_id,
            pad_token=theirs.pad_token,
            length=tokenizer.context_length,
        )
    samples: List[str] = list(_SAMPLES)
    if theirs is not None:  # its cleaning may drop punctuation
        samples = ['a dog', 'two red cars', 'word ' * 200]
    ids = [each.ids for each in found.encode_batch(samples)]
    return found if ids == tokenizer.ids(samples).tolist() else None


def _byte_pairs(context_length: int) -> Tokenizer:
    """OpenAI's byte pairs, which come with open_clip."""
    bpe = SimpleTokenizer()
    start, end = '<start_of_text>', '<end_of_text>'
    found = Tokenizer(
        BPE(
            vocab=bpe.encoder,
            merges=list(bpe.bpe_ranks),
            end_of_word_suffix='</w>',
        )
    )
    found.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex(r'\s+'), ' '),
            normalizers.Lowercase(),
        ]
    )
    words = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), 'removed', invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    found.post_processor = processors.TemplateProcessing(
        single=f'{start} $A {end}',
        special_tokens=[(start, bpe.sot_token_id), (end, bpe.eot_token_id)],
    )
    found.enable_truncation(context_length)
    found.enable_padding(pad_id=0, pad_token='', length=context_length)
    return found
