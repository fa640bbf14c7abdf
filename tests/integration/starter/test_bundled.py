"""The weights that come with the product: trained, not just loadable."""

from separation.starter.evaluation import evaluate, separator, songs
from separation.starter.health import examples, idle
from separation.starter.loading import load_starter
from separation.starter.synthesis import STEMS


def test_the_bundled_starter_separates_songs_it_was_not_trained_on() -> None:
    rows = evaluate(separator(load_starter()), songs("validation", 2, 5.0))
    assert [row.stem for row in rows] == list(STEMS)
    assert all(row.gain > 4 for row in rows)


def test_every_part_of_the_bundled_starter_is_of_use() -> None:
    assert idle(load_starter(), examples(1.0)) == []
