"""A CLIP's own tokenizer, with the characters behind every token."""

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import torch
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from tokenizers import (
    Regex,
    Tokenizer,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.models import BPE

from harmoclip_mm.errors import UsageError

from .clip_spec import CLIPSpec
from .text_cleaning import Span, clean_with_origin, is_plain

NOWHERE = (0, 0)


@dataclass(frozen=True)
class Encoding:
    """A tokenized text whose tokens know their characters.

    Args:
        ids (torch.Tensor): int64 token ids, shape (L,).
        offsets (List[Tuple[int, int]]): For each of the L positions the
            half-open range of characters of the original text; (0, 0) for
            special tokens, padding and tokens of white space alone.
        num_tokens (int): Positions in use, special tokens counted, <= L.
        truncated (bool): Whether tokens were cut off at the end.
        num_chars (int): Length of the original text in characters.
        kept_chars (int): Characters before the first token that was cut off;
            ``num_chars`` if none was.
    """

    ids: torch.Tensor
    offsets: List[Span]
    num_tokens: int
    truncated: bool
    num_chars: int
    kept_chars: int


@dataclass(frozen=True)
class CLIPTokenizer:
    """The tokenizer that a CLIP was trained with.

    Token ids are those of ``open_clip.get_tokenizer``, whose tokenizers do
    the work. Added is what phrases in captions need: which characters of the
    text, as it was before any cleaning, each token stands for. Tokens are
    told from special ones and from padding by the tokenizer, never by their
    ids: SigLIP pads with the id that ends a text.

    Files are read at first use and once for each process. Instances hold
    settings only, so they are cheap to pickle and safe with forked and
    spawned workers.

    Args:
        clip (str): Name of the CLIP, for messages.
        context_length (int): Positions L of the output, special tokens
            counted.
        source (str, optional): Name on the Hugging Face hub, or folder, of
            the tokenizer. None: the byte pairs of OpenAI's CLIP, which come
            with open_clip.
        kwargs (str): JSON of what open_clip's class takes besides.

    Examples:
        >>> tokenizer = clip_spec('ViT-B-16').tokenizer
        >>> tokenizer.ids(['a dog', 'two cats']).shape
        torch.Size([2, 77])
    """

    clip: str
    context_length: int
    source: Optional[str]
    kwargs: str

    def ids(self, texts: Union[str, Sequence[str]]) -> torch.Tensor:
        """Tokenizes texts.

        Args:
            texts (str | Sequence[str]): One text or several.

        Returns:
            torch.Tensor: int64 ids, shape (N, L).

        Raises:
            TypeError: If a text is not a string.
            UsageError: If the tokenizer's files are not at hand.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        for index, text in enumerate(texts):
            _check_text(text, f'texts[{index}]')
        if not texts:
            return torch.zeros(0, self.context_length, dtype=torch.long)
        return _load(self).ids(texts)

    def encode(self, text: str) -> Encoding:
        """Tokenizes one text and locates its tokens in it.

        Args:
            text (str): Any text.

        Returns:
            Encoding: Ids as of :meth:`ids`. Offsets count characters of
            ``text`` as given, before any cleaning, and are exact but where
            characters were repaired together (:func:`clean_with_origin`).

        Raises:
            TypeError: If ``text`` is not a string.
            UsageError: If the tokenizer's files are not at hand.
        """
        _check_text(text, 'text')
        theirs = _load(self)
        clean, origin = clean_with_origin(text, theirs.kind)

        def offset(span: Span) -> Span:
            start, end = span
            # SentencePiece gives the space before a word to the word.
            while start < end and clean[start].isspace():
                start += 1
            while start < end and clean[end - 1].isspace():
                end -= 1
            if start >= end:
                return NOWHERE
            return origin[start][0], origin[end - 1][1]

        ids, spans, used = theirs.encode(clean)
        offsets = [offset(span) for span in spans]
        offsets, cut_off = offsets[: len(ids)], offsets[len(ids) :]
        return Encoding(
            ids=torch.tensor(ids, dtype=torch.long),
            offsets=offsets,
            num_tokens=used,
            truncated=bool(cut_off),
            num_chars=len(text),
            kept_chars=min(
                [start for start, end in cut_off if end], default=len(text)
            ),
        )

    def portable(self) -> Optional[Tokenizer]:
        """Makes a tokenizer that needs neither torch nor open_clip.

        What open_clip cleans before (broken encodings and HTML by ftfy, and
        punctuation for SigLIP) is not in it: for clean words in lower case
        ids are the CLIP's.

        Returns:
            Tokenizer: One of the library ``tokenizers``, with padding and
            truncation to the context length; None where the ids of some
            samples differ.

        Raises:
            UsageError: If the tokenizer's files are not at hand.
        """
        theirs = _load(self)
        found = theirs.portable()
        found.enable_truncation(self.context_length)
        id_, token = theirs.padding
        found.enable_padding(
            pad_id=id_, pad_token=token, length=self.context_length
        )
        samples = list(theirs.samples)
        ids = [each.ids for each in found.encode_batch(samples)]
        return found if ids == self.ids(samples).tolist() else None

    @staticmethod
    def span_mask(
        encoding: Encoding, spans: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """Marks the tokens of a phrase.

        Args:
            encoding (Encoding): The tokenized caption.
            spans (Sequence[Sequence[int]]): Half-open [start, end) ranges of
                characters of the caption.

        Returns:
            torch.Tensor: bool, shape (L,): true at the tokens that share a
            character with a span. All false when part of a span was
            truncated away, when the spans hold white space alone, or when
            there are none.

        Raises:
            ValueError: If a span is empty or outside the caption.
        """
        for start, end in spans:
            if not 0 <= start < end <= encoding.num_chars:
                raise ValueError(
                    f'The span [{start}, {end}] is empty or outside a '
                    f'caption of {encoding.num_chars} characters.'
                )
        if any(end > encoding.kept_chars for _, end in spans):
            spans = []
        used = encoding.offsets[: encoding.num_tokens]  # the rest is padding
        mask = [False] * len(encoding.offsets)
        for start, end in spans:
            for place, (first, last) in enumerate(used):
                mask[place] |= first < end and start < last
        return torch.tensor(mask)

    @staticmethod
    def text_mask(encoding: Encoding) -> torch.Tensor:
        """Marks the tokens that stand for characters of the text: bool,
        shape (L,), false at special tokens, padding and white space."""
        return torch.tensor([each != NOWHERE for each in encoding.offsets])


def get_tokenizer(spec: CLIPSpec) -> CLIPTokenizer:
    """The tokenizer of a CLIP; no file is read yet.

    Raises:
        UsageError: If it has a mode in which tokens are not the text's.
    """
    cfg = spec.model_cfg['text_cfg']
    kwargs = cfg.get('tokenizer_kwargs') or {}
    mode = cfg.get('tokenizer_mode') or kwargs.get('reduction_mask')
    if mode:
        raise UsageError(
            f'clip {spec.name!r}: the tokenizer_mode or reduction_mask '
            f'{mode!r} is not supported; leave it out of its text_cfg'
        )
    source = cfg.get('hf_tokenizer_name') or None
    if source and spec.folder:
        source = spec.folder
    kwargs = json.dumps(kwargs, sort_keys=True)
    return CLIPTokenizer(spec.name, spec.context_length, source, kwargs)


def how_to_get(source: str) -> str:
    """What to do about files of Hugging Face that are not at hand."""
    if os.path.isdir(source):
        return 'put its tokenizer.json and tokenizer_config.json there'
    if os.path.isabs(source) or source.count('/') > 1:
        return 'there is no such folder'
    return (
        f'run `hf download {source} --include "*.json" "*.model" "*.txt"` '
        '(where there is no network, on another machine with HF_HOME set to '
        'a folder that you then bring here)'
    )


def _check_text(text: Any, name: str) -> None:
    if not isinstance(text, str):
        kind = type(text).__name__
        raise TypeError(f'{name} must be a string, got {kind}: {text!r}.')


@lru_cache(maxsize=8)
def _load(settings: CLIPTokenizer) -> Union['_BytePairs', '_HuggingFace']:
    """Reads the files once for each process (forks inherit them)."""
    kwargs = json.loads(settings.kwargs)
    kwargs['context_length'] = settings.context_length
    clip, source = settings.clip, settings.source
    if source is None:
        return _BytePairs(kwargs)
    try:
        # Never the network: workers would all ask it, and a machine without
        # one would wait for its time to run out.
        theirs = HFTokenizer(source, local_files_only=True, **kwargs)
    except Exception as error:
        reason = str(error).strip().split('\n')[0]
        raise UsageError(
            f'clip {clip!r} reads its texts with the tokenizer {source!r}, '
            f'which is not at hand: {how_to_get(source)} '
            f'({type(error).__name__}: {reason})'
        ) from error
    tokenizer = theirs.tokenizer
    if not tokenizer.is_fast or tokenizer.truncation_side != 'right':
        raise UsageError(
            f'clip {clip!r}: its tokenizer {source!r} is a '
            f'{type(tokenizer).__name__} that cuts at the '
            f'{tokenizer.truncation_side}, but phrases need a fast tokenizer '
            '(tokenizer.json), whose tokens know their characters, that cuts '
            'at the right'
        )
    return _HuggingFace(theirs, kwargs)


# Of a clean text: L ids, the characters of each and of the tokens cut off
# (special ones: NOWHERE), and how many of the L are no padding.
_Tokens = Tuple[List[int], List[Span], int]


class _BytePairs:
    """OpenAI's byte pairs, merged by the ``tokenizers`` library (open_clip's
    merging is plain Python), with a cache of words."""

    padding = 0, ''
    samples = (
        *('a dog', "The dog's 2 red-and-white balls, isn't it?"),
        *('caf\u00e9 \U0001f600', '  ', 'word ' * 200),
    )

    def __init__(self, kwargs: Dict[str, Any]) -> None:
        self.kind = kwargs.get('clean', 'lower')
        self._theirs = theirs = SimpleTokenizer(**kwargs)
        self._special = {theirs.decoder[id_] for id_ in theirs.all_special_ids}
        merges = list(theirs.bpe_ranks)
        self._bpe = BPE(theirs.encoder, merges, end_of_word_suffix='</w>')
        # Words repeat, so nearly all of them come from here.
        self._word = lru_cache(maxsize=1 << 16)(self._encode_word)

    def ids(self, texts: Sequence[str]) -> torch.Tensor:
        rows = []
        for text in texts:
            if self.kind == 'lower' and is_plain(text):
                clean = text.lower()  # the split into words skips white space
            else:
                clean = self._theirs.clean_fn(text)
            rows.append(self.encode(clean)[0])
        return torch.tensor(rows, dtype=torch.long)

    def encode(self, clean: str) -> _Tokens:
        theirs, length = self._theirs, self._theirs.context_length
        ids, spans = [theirs.sot_token_id], [NOWHERE]
        for match in theirs.pat.finditer(clean):
            base = match.start()
            for token, start, end in self._word(match.group()):
                ids.append(token)
                spans.append((base + start, base + end))
            if len(ids) >= length:
                break
        ids = [*ids[: length - 1], theirs.eot_token_id]
        padding = length - len(ids)
        ends = [NOWHERE] * (padding + 1)
        spans = spans[: length - 1] + ends + spans[length - 1 :]
        return ids + [0] * padding, spans, len(ids)

    def portable(self) -> Tokenizer:
        theirs = self._theirs
        ends = theirs.sot_token_id, theirs.eot_token_id
        start, end = (theirs.decoder[each] for each in ends)
        words = r"""'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"""
        found = Tokenizer(self._bpe)
        found.normalizer = normalizers.Sequence(
            [
                normalizers.NFC(),
                normalizers.Replace(Regex(r'\s+'), ' '),
                normalizers.Lowercase(),
            ]
        )
        found.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(words), 'removed', invert=True),
                pre_tokenizers.ByteLevel(False, use_regex=False),
            ]
        )
        found.post_processor = processors.TemplateProcessing(
            f'{start} $A {end}', special_tokens=list(zip((start, end), ends))
        )
        return found

    def _encode_word(self, word: str) -> List[Sequence[int]]:
        """For each token of a word its id and the half-open range of
        characters of the word that it has bytes of."""
        symbols = [
            ''.join(self._theirs.byte_encoder[b] for b in char.encode('utf-8'))
            for char in word
        ]
        text = ''.join(symbols)
        if text in self._special:
            return [(self._theirs.encoder[text], 0, len(word))]
        # Index of the character that each byte belongs to.
        owners = [i for i, each in enumerate(symbols) for _ in each]
        tokens, start = [], 0
        for token in self._bpe.tokenize(text):
            end = start + len(token.value)  # one symbol a byte
            if token.value.endswith('</w>'):
                end -= len('</w>')
            tokens.append((token.id, owners[start], owners[end - 1] + 1))
            start = end
        return tokens


class _HuggingFace:
    """A tokenizer of the ``transformers`` library as open_clip calls it."""

    # its cleaning may drop punctuation
    samples = 'a dog', 'two red cars', 'word ' * 200

    def __init__(self, theirs: HFTokenizer, kwargs: Dict[str, Any]) -> None:
        self.kind = kwargs.get('clean', 'whitespace')
        self.ids = theirs
        self._theirs = theirs
        tokenizer = theirs.tokenizer
        self.padding = tokenizer.pad_token_id, tokenizer.pad_token

    def encode(self, clean: str) -> _Tokens:
        theirs = self._theirs
        found = theirs.tokenizer(
            [clean],
            max_length=theirs.context_length,
            padding='max_length',
            truncation=True,
        ).encodings[0]
        ids = found.ids
        if theirs.strip_sep_token:
            sep = theirs.tokenizer.sep_token_id
            ids = [0 if each == sep else each for each in ids]
        parts = [found, *found.overflowing]
        spans = [span for part in parts for span in self._spans(part)]
        return ids, spans, sum(found.attention_mask)

    def portable(self) -> Tokenizer:
        backend = self._theirs.tokenizer.backend_tokenizer
        return Tokenizer.from_str(backend.to_str())

    @staticmethod
    def _spans(encoding: Any) -> List[Span]:
        # SentencePiece's sign for a space has, where no space is, the place
        # of the first letter.
        return [
            NOWHERE if special or not token.strip('▁') else span
            for span, special, token in zip(
                encoding.offsets, encoding.special_tokens_mask, encoding.tokens
            )
        ]
