"""CLIP's byte-pair tokenizer, with the characters behind every token."""

import gzip
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple, Union

import regex
import torch
from tokenizers import models

from .cleaning import Span, clean_text

_VOCAB_FILE = 'bpe_simple_vocab_16e6.txt.gz'
_VOCAB_SIZE = 49408  # 2 x 256 bytes + 48894 merges + 2 special tokens
_SPECIAL_TOKENS = ('<start_of_text>', '<end_of_text>')
# How CLIP splits text into words (openai/CLIP, clip/simple_tokenizer.py).
_WORDS = regex.compile(
    '|'.join(_SPECIAL_TOKENS)
    + r"|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)


def _byte_symbols() -> Dict[int, str]:
    """The printable character that stands for each byte in GPT-2's BPE.

    Printable bytes stand for themselves, the other 68 for the characters
    from U+0100 on. The order of the keys is the order of the token ids.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in symbols)
    symbols.update({b: chr(256 + i) for i, b in enumerate(others)})
    return symbols


def find_vocab_file() -> Path:
    """Finds CLIP's BPE vocabulary, which comes with open_clip.

    Returns:
        Path: The gzipped file.

    Raises:
        ImportError: If open_clip is not installed.
    """
    # find_spec does not run the package, whose import takes seconds.
    spec = importlib.util.find_spec('open_clip')
    for folder in (spec and spec.submodule_search_locations) or ():
        if (Path(folder) / _VOCAB_FILE).is_file():
            return Path(folder) / _VOCAB_FILE
    raise ImportError(
        f"CLIP's BPE vocabulary {_VOCAB_FILE} comes with open_clip: run "
        '`pip install open_clip_torch`, or pass `vocab_file`.'
    )


def read_bpe(
    vocab_file: Path,
) -> Tuple[Dict[str, int], List[Tuple[str, str]]]:
    """Reads CLIP's BPE vocabulary.

    Args:
        vocab_file (Path): The gzipped file of merges.

    Returns:
        Tuple[Dict[str, int], List[Tuple[str, str]]]: Ids of the 49408
        tokens, and the merges in order.

    Raises:
        ValueError: If the file is not CLIP's.
    """
    symbols = list(_byte_symbols().values())
    with gzip.open(vocab_file, 'rt', encoding='utf-8') as file:
        lines = file.read().split('\n')
    num_merges = _VOCAB_SIZE - 2 * len(symbols) - 2
    # Line 0 is a version comment; the file has more merges than CLIP uses.
    merges = [tuple(line.split()) for line in lines[1 : num_merges + 1]]
    if len(merges) != num_merges or any(len(m) != 2 for m in merges):
        raise ValueError(
            f'{vocab_file} is not the BPE vocabulary of CLIP: expected '
            f'{num_merges} merges of two symbols after the first line.'
        )
    names = symbols + [name + '</w>' for name in symbols]
    names += [left + right for left, right in merges]
    names += _SPECIAL_TOKENS
    return {name: index for index, name in enumerate(names)}, merges


class _WordEncoder:
    """Byte-pair encoding of single words, with a cache of words.

    One instance serves the whole process (see :func:`_word_encoder`).
    """

    def __init__(self, vocab_file: Path) -> None:
        self._symbols = _byte_symbols()
        vocab, merges = read_bpe(vocab_file)
        self.special_ids = {name: vocab[name] for name in _SPECIAL_TOKENS}
        self._bpe = models.BPE(vocab, merges, end_of_word_suffix='</w>')
        # Words repeat, so nearly all of them come from here.
        self.encode = lru_cache(maxsize=1 << 16)(self._encode)

    def _encode(self, word: str) -> Tuple[Tuple[int, int, int], ...]:
        """Encode one word.

        Args:
            word (str): A match of ``_WORDS``, not empty.

        Returns:
            Tuple[Tuple[int, int, int], ...]: For each token its id and the
            half-open range of characters of the word that it has bytes of.
        """
        if word in self.special_ids:
            return ((self.special_ids[word], 0, len(word)),)
        # Index of the character that each byte belongs to.
        owners = [
            index
            for index, char in enumerate(word)
            for _ in range(len(char.encode('utf-8')))
        ]
        text = ''.join(self._symbols[byte] for byte in word.encode('utf-8'))
        tokens, start = [], 0
        for token in self._bpe.tokenize(text):
            end = start + len(token.value)  # one symbol a byte
            if token.value.endswith('</w>'):
                end -= len('</w>')
            tokens.append((token.id, owners[start], owners[end - 1] + 1))
            start = end
        return tuple(tokens)


@lru_cache(maxsize=None)
def _word_encoder(vocab_file: Optional[str]) -> _WordEncoder:
    """Read the vocabulary once for each process (forks inherit it)."""
    return _WordEncoder(Path(vocab_file or find_vocab_file()))


@dataclass(frozen=True)
class Encoding:
    """A tokenized text whose tokens know their characters.

    Args:
        ids (torch.Tensor): int64 token ids, shape (L,): SOT, tokens, EOT,
            then zeros.
        offsets (List[Tuple[int, int]]): For each of the L positions the
            half-open range of characters of the original text; (0, 0) for
            SOT, EOT and padding.
        num_tokens (int): Positions in use, SOT and EOT counted, <= L.
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


class CLIPTokenizer:
    """CLIP's tokenizer: ids equal to ``open_clip.tokenize``, plus offsets.

    Bytes are merged by the ``tokenizers`` library with the vocabulary file
    in the ``open_clip_torch`` wheel, which is read at first use and once for
    each process. Instances hold settings only, so they are cheap to pickle
    and safe with forked and spawned workers.

    Args:
        context_length (int): Positions of the output, SOT and EOT counted.
            At least 2. Defaults to 77, the length of every CLIP.
        vocab_file (str, optional): Path of another gzipped BPE vocabulary of
            the same size. Defaults to the one of open_clip.

    Raises:
        ValueError: If ``context_length`` is less than 2, or, at first use,
            if the vocabulary file is not CLIP's.
        ImportError: At first use, if ``open_clip_torch`` is not installed.

    Examples:
        >>> tok = CLIPTokenizer()
        >>> tok(['a dog', 'two cats']).shape
        torch.Size([2, 77])
        >>> tok('a dog')[0, :4].tolist()
        [49406, 320, 1929, 49407]
    """

    vocab_size: int = _VOCAB_SIZE
    sot_id: int = _VOCAB_SIZE - 2
    eot_id: int = _VOCAB_SIZE - 1

    def __init__(
        self, context_length: int = 77, vocab_file: Optional[str] = None
    ) -> None:
        self.context_length = self._checked(context_length)
        self.vocab_file = None if vocab_file is None else str(vocab_file)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(context_length={self.context_length})'

    @staticmethod
    def _checked(context_length: int) -> int:
        if context_length < 2:
            raise ValueError(
                'context_length must be at least 2 (SOT and EOT), got '
                f'{context_length}.'
            )
        return context_length

    def __call__(
        self,
        texts: Union[str, Sequence[str]],
        context_length: Optional[int] = None,
    ) -> torch.Tensor:
        """Tokenize texts.

        Args:
            texts (str | Sequence[str]): One text or several.
            context_length (int, optional): Replaces the tokenizer's own.

        Returns:
            torch.Tensor: int64 ids, shape (N, context_length): SOT, tokens,
            EOT, zeros. Of a longer text the last position is EOT.

        Raises:
            TypeError: If a text is not a string; the message has its index.
        """
        if isinstance(texts, str):
            texts = [texts]
        length = self.context_length
        if context_length is not None:
            length = self._checked(context_length)
        encode = _word_encoder(self.vocab_file).encode
        rows = []
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(
                    f'texts[{index}] must be a string, got '
                    f'{type(text).__name__}: {text!r}.'
                )
            row = [self.sot_id]
            for word in _WORDS.findall(clean_text(text)[0]):
                row.extend([token[0] for token in encode(word)])
                if len(row) >= length:
                    break
            row = [*row[: length - 1], self.eot_id]
            rows.append(row + [0] * (length - len(row)))
        return torch.tensor(rows, dtype=torch.long).reshape(-1, length)

    def encode_with_offsets(
        self, text: str, context_length: Optional[int] = None
    ) -> Encoding:
        """Tokenize one text and locate its tokens in it.

        Offsets count characters of ``text`` as given, before any cleaning,
        and are exact unless cleaning rewrote the word (see
        :func:`harmoclip_mm.text.cleaning.clean_text`).

        Args:
            text (str): Any text.
            context_length (int, optional): Replaces the tokenizer's own.

        Returns:
            Encoding: Ids as of :meth:`__call__`, and the offsets.

        Raises:
            TypeError: If ``text`` is not a string.
        """
        if not isinstance(text, str):
            raise TypeError(
                f'text must be a string, got {type(text).__name__}: {text!r}.'
            )
        length = self.context_length
        if context_length is not None:
            length = self._checked(context_length)
        encode = _word_encoder(self.vocab_file).encode
        cleaned, origin = clean_text(text)
        ids, offsets = [self.sot_id], [(0, 0)]
        for match in _WORDS.finditer(cleaned):
            base = match.start()
            for token, start, end in encode(match.group()):
                ids.append(token)
                start, end = start + base, end + base
                if origin is not None:
                    start, end = origin[start][0], origin[end - 1][1]
                offsets.append((start, end))
            if len(ids) >= length:
                break
        truncated = len(ids) >= length
        kept_chars = len(text)
        if truncated:
            kept_chars = offsets[length - 1][0]
            del ids[length - 1 :], offsets[length - 1 :]
        ids.append(self.eot_id)
        padding = length - len(ids)
        return Encoding(
            ids=torch.tensor(ids + [0] * padding, dtype=torch.long),
            offsets=offsets + [(0, 0)] * (padding + 1),
            num_tokens=len(ids),
            truncated=truncated,
            num_chars=len(text),
            kept_chars=kept_chars,
        )

    @staticmethod
    def span_mask(
        encoding: Encoding, spans: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """Mark the tokens of a phrase.

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
        mask = torch.zeros(len(encoding.ids), dtype=torch.bool)
        spans = [(start, end) for start, end in spans]
        for start, end in spans:
            if not 0 <= start < end <= encoding.num_chars:
                raise ValueError(
                    f'The span [{start}, {end}] is empty or outside a '
                    f'caption of {encoding.num_chars} characters.'
                )
        if any(end > encoding.kept_chars for _, end in spans):
            return mask
        used = encoding.offsets[1 : encoding.num_tokens - 1]
        hits = [
            position
            for position, (first, last) in enumerate(used, start=1)
            if any(first < end and start < last for start, end in spans)
        ]
        mask[hits] = True
        return mask
