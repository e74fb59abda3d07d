from __future__ import annotations

import gc

import pytest

from earmark.pipelines.collecting import uncollected


@pytest.fixture(autouse=True)
def unfrozen():
    yield
    gc.unfreeze()


def test_no_garbage_is_looked_for_until_the_context_ends():
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_made_in_the_context_is_passed_over_later():
    with uncollected():
        made = [[] for _ in range(1000)]
    assert gc.get_freeze_count() > 1000
    assert not any(each is made for each in gc.get_objects())


def test_it_goes_on_after_an_error():
    with pytest.raises(KeyError), uncollected():
        raise KeyError
    assert gc.isenabled()


def test_a_process_without_collection_stays_so():
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
        assert gc.get_freeze_count() == 0
    finally:
        gc.enable()
