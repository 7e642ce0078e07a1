"""Small tokenizers in the formats of the hub, for CLIPs that bring their own.

``save_toy('t5', folder)`` trains one on a few sentences and saves what
``AutoTokenizer`` loads. Each stands in for files that tests cannot download.
"""

import json
from pathlib import Path
from typing import Callable, Dict, Sequence

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    BertTokenizerFast,
    GemmaTokenizerFast,
    PreTrainedTokenizerFast,
    RobertaTokenizerFast,
    T5TokenizerFast,
    XLMRobertaTokenizerFast,
)

SENTENCES = [
    'A man riding a wave on top of a surfboard.',
    'A brown dog and two cats sit on an old wooden bench in the park.',
    "The woman's red umbrella isn't open; she's carrying it, don't you see?",
    'Three people are standing next to a bus at the traffic light.',
    'a close up of a plate of food with broccoli, rice & chicken',
    'Ein großer Hund läuft über die Straße. Où est le café ?',
    'Kids\' toys: blue_ball, green-car (2nd), 10 cups; it\'s "fun"!',
    'A kitchen with a stove, a refrigerator and a microwave oven.',
    'Young girl holding a teddy bear while watching the surfers',
    'A giraffe eating leaves from a tall tree near the zebras',
]
_SPACES = normalizers.Replace(Regex(' {2,}'), ' ')


def _unigram(*special: str) -> Tokenizer:
    """SentencePiece's unigram model, as T5 and XLM-R have it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), _SPACES])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300,
        special_tokens=list(special),
        unk_token='<unk>',
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def _add_ends(tokenizer: Tokenizer, template: str) -> None:
    """Special tokens around a text, such as ``'<s> $A </s>'``."""
    names = [each for each in template.split() if each != '$A']
    ids = [(each, tokenizer.token_to_id(each)) for each in names]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=ids
    )


def _t5() -> PreTrainedTokenizerFast:
    """SigLIP's: pads with the token that ends a text."""
    tokenizer = _unigram('<pad>', '</s>', '<unk>')
    _add_ends(tokenizer, '$A </s>')
    return T5TokenizerFast(
        tokenizer_object=tokenizer, extra_ids=0, pad_token='</s>'
    )


def _mt5() -> PreTrainedTokenizerFast:
    """mT5's: 0 is padding, 1 ends a text."""
    tokenizer = _unigram('<pad>', '</s>', '<unk>')
    _add_ends(tokenizer, '$A </s>')
    return T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=0)


def _xlm_roberta() -> PreTrainedTokenizerFast:
    """XLM-R's and XLM-V's (worldwide): 0 begins, 2 ends a text, 1 pads."""
    tokenizer = _unigram('<s>', '<pad>', '</s>', '<unk>')
    _add_ends(tokenizer, '<s> $A </s>')
    return XLMRobertaTokenizerFast(tokenizer_object=tokenizer)


def _gemma() -> PreTrainedTokenizerFast:
    """SigLIP 2's: spaces are letters, unknown letters are bytes."""
    special = ['<pad>', '<eos>', '<bos>', '<unk>']
    special += [f'<0x{byte:02X}>' for byte in range(256)]
    tokenizer = Tokenizer(
        models.BPE(unk_token='<unk>', fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(' ', '▁')
    tokenizer.pre_tokenizer = pre_tokenizers.Split(' ', 'merged_with_previous')
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    # Bytes are plain entries of the vocabulary, not special tokens.
    tokenizer = Tokenizer.from_str(_without_added(tokenizer, special[4:]))
    _add_ends(tokenizer, '$A <eos>')
    return GemmaTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side='right',
        add_bos_token=False,
        add_eos_token=True,
    )


def _without_added(tokenizer: Tokenizer, names: Sequence[str]) -> str:
    content = json.loads(tokenizer.to_str())
    added = content['added_tokens']
    content['added_tokens'] = [x for x in added if x['content'] not in names]
    return json.dumps(content)


def _bert() -> PreTrainedTokenizerFast:
    """CLIPA's: lower case without accents, [SEP] becomes padding."""
    tokenizer = Tokenizer(models.WordPiece(unk_token='[UNK]'))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300,
        special_tokens=['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'],
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    _add_ends(tokenizer, '[CLS] $A [SEP]')
    return BertTokenizerFast(tokenizer_object=tokenizer)


def _roberta() -> PreTrainedTokenizerFast:
    """RoBERTa's: byte pairs, the space before a word belongs to it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=['<s>', '<pad>', '</s>', '<unk>', '<mask>'],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ('</s>', 2), ('<s>', 0), trim_offsets=True, add_prefix_space=False
    )
    return RobertaTokenizerFast(tokenizer_object=tokenizer)


TOYS: Dict[str, Callable[[], PreTrainedTokenizerFast]] = dict(
    t5=_t5,
    mt5=_mt5,
    xlm_roberta=_xlm_roberta,
    gemma=_gemma,
    bert=_bert,
    roberta=_roberta,
)


def save_toy(name: str, folder: Path) -> int:
    """Trains one of ``TOYS`` and saves it.

    Args:
        name (str): Which one.
        folder (Path): Where; it is made.

    Returns:
        int: Number of its tokens.
    """
    tokenizer = TOYS[name]()
    tokenizer.save_pretrained(folder)
    return len(tokenizer)
