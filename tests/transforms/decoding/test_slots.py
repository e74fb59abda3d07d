"""Memory shared with decoders: who looks at frames never sees others in their place."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from earmark.transforms.decoding.slots import OwnSlots, SharedSlots

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="there is no memory of this kind"
)

SHAPE = (16, 15_600)


@pytest.fixture(name="sides")
def _sides() -> Iterator[tuple[OwnSlots, SharedSlots]]:
    own = OwnSlots()
    yield own, SharedSlots(own.descriptor)
    own.close()


def frames(number: int) -> np.ndarray:
    return np.full(SHAPE, number, np.float32)


def test_frames_that_are_dropped_make_room_for_others(sides: tuple[OwnSlots, SharedSlots]) -> None:
    own, shared = sides
    for number in range(20):
        slot = shared.fill(frames(number))
        assert (own.take(slot, SHAPE) == number).all()
        freed = own.freed()
        assert freed == [slot]
        shared.free(*freed)


def test_frames_that_are_kept_stay_what_they_were_and_stop_nobody(
    sides: tuple[OwnSlots, SharedSlots],
) -> None:
    own, shared = sides
    kept = []
    for number in range(20):
        kept.append(own.take(shared.fill(frames(number)), SHAPE)[2:9, 5:])  # parts of them
        for slot in own.freed():
            shared.free(slot)
    assert [set(part.flat) for part in kept] == [{number} for number in range(20)]


def test_a_part_of_frames_keeps_their_slot(sides: tuple[OwnSlots, SharedSlots]) -> None:
    own, shared = sides
    part = own.take(shared.fill(frames(1)), SHAPE)[3]
    assert own.freed() == []
    del part
    assert own.freed() == [0]


def test_a_slot_that_is_in_use_or_too_small_has_no_frames(
    sides: tuple[OwnSlots, SharedSlots],
) -> None:
    own, shared = sides
    taken = own.take(shared.fill(frames(1)), SHAPE)
    assert taken is not None
    assert own.take(0, SHAPE) is None
    assert own.take(1, (1 << 20, 15_600)) is None


@pytest.mark.parametrize("shape", [(1, 15_600), (40, 144_000)])
def test_what_is_not_worth_a_slot_or_too_large_is_not_shared(
    sides: tuple[OwnSlots, SharedSlots], shape: tuple[int, int]
) -> None:
    assert sides[1].fill(np.zeros(shape, np.float32)) is None


def test_a_decoder_cannot_cut_the_memory_short(sides: tuple[OwnSlots, SharedSlots]) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(sides[0].descriptor, 0)


def test_frames_outlive_the_file(sides: tuple[OwnSlots, SharedSlots]) -> None:
    own, shared = sides
    taken = own.take(shared.fill(frames(7)), SHAPE)
    own.close()
    assert (taken == 7).all()


def test_where_the_system_grants_no_memory_nothing_is_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refused)
    own = OwnSlots()
    assert own.descriptor is None
    assert own.take(0, SHAPE) is None
    assert SharedSlots(None).fill(frames(1)) is None
