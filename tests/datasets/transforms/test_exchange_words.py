"""Hard negatives of phrases by exchanged words."""

import numpy as np
import pytest

from harmoclip_mm.datasets.transforms import ExchangeWords

WORDS = [['red', 'blue', 'green'], ['car', 'bus']]


def sample(*phrases):
    return {
        'phrases': {
            label: {'phrase': phrase, 'tokens_positive': []}
            for label, phrase in enumerate(phrases)
        }
    }


def test_a_word_is_exchanged_for_one_of_its_kind():
    exchange = ExchangeWords(WORDS)
    assert exchange.negatives('small Red car') == [
        'small blue car',
        'small green car',
        'small red bus',
    ]
    assert exchange.negatives('a dog') == []


def test_what_is_forbidden_is_not_made(tmp_path):
    names = ['blue car', 'Red Bus']
    path = tmp_path / 'novel.txt'
    path.write_text('\n'.join(names))
    for forbidden in (names, str(path)):
        exchange = ExchangeWords(WORDS, forbidden)
        assert exchange.negatives('small red car') == ['small green car']
    # words of one next to each other, not in each other
    exchange = ExchangeWords(WORDS, ['blue cart'])
    assert 'blue car' in exchange.negatives('red car')
    # punctuation is of no word
    exchange = ExchangeWords(WORDS, names)
    for phrase in ('red car, parked', "a red car's door"):
        made = exchange.negatives(phrase)
        assert made and not any('blue car' in each for each in made)
    # as LVIS writes them
    exchange = ExchangeWords(WORDS, ['blue_car', 'red_bus'])
    assert exchange.negatives('small red car') == ['small green car']


def test_phrases_get_negatives_in_random_order():
    results = sample('red car', 'a dog', 'blue bus')
    results['phrases'][2]['negatives'] = ['of the data']
    orders = set()
    for seed in range(20):
        np.random.seed(seed)
        results['phrases'][0].pop('negatives', None)
        ExchangeWords(WORDS).transform(results)
        orders.add(tuple(results['phrases'][0]['negatives']))
    assert {frozenset(each) for each in orders} == {
        frozenset({'blue car', 'green car', 'red bus'})
    }
    assert len(orders) > 2
    assert results['phrases'][1]['negatives'] == []
    assert results['phrases'][2]['negatives'] == ['of the data']


def test_a_word_of_two_kinds_is_refused():
    with pytest.raises(ValueError, match='two kinds'):
        ExchangeWords([['orange', 'red'], ['apple', 'orange']])
