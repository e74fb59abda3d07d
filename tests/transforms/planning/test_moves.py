"""What tells an archive that has moved from another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.transforms.elements import AudioObject, Found
from earmark.transforms.output.history import Processed
from earmark.transforms.planning import (
    Move,
    MoveError,
    Retry,
    find_moves,
    moves,
    note_moves,
)
from earmark.transforms.planning.plan import Plan, new_plan
from earmark.transforms.storage import parse_root

NAMES = [f"{site}/2024052{day}_100000.WAV" for site in ("north", "south") for day in range(5)]


@pytest.fixture
def plan(monkeypatch):
    real = moves.look_up  # nobody is asked for objects of stores
    monkeypatch.setattr(
        moves, "look_up", lambda uri: AudioObject(uri, None, "") if "://" in uri else real(uri)
    )
    with new_plan() as plan:
        yield plan


def know(plan: Plan, root: str, sizes: dict[str, int]) -> None:
    plan.note(
        Processed(f"{root}/{name}", f"{size}-1", None, "x.parquet", size)
        for name, size in sizes.items()
    )


def find(plan: Plan, *archives: tuple[str, dict[str, int]]) -> list[Move]:
    plan.look(
        Found(AudioObject(f"{root}/{name}", size, f"{size}-2"))
        for root, sizes in archives
        for name, size in sizes.items()
    )
    return find_moves(plan)


def sized(names=NAMES, first=5000, step=1) -> dict[str, int]:
    return {name: first + step * number for number, name in enumerate(names)}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/media/me/card1", "/media/me/card2"),
        ("/media/cards/1", "/mnt/archive"),
        ("s3://old/cards", "gs://new"),
        ("s3://bucket/cards", "gs://bucket/cards"),
        ("/cards", "s3://bucket"),
        ("/cards/1.tar!", "/cards/2.tar!"),
        ("/data/audio", "/backup/audio"),
    ],
)
@pytest.mark.parametrize("step", [0, 1])
def test_an_archive_under_another_root_is_found(plan, old, new, step):
    know(plan, old, sized(step=step))
    (move,) = find(plan, (new, sized(step=step)))
    assert (move.objects, move.listed) == (10, 10)
    ((moved_from, moved_to),) = parse_root(f"{move.old}={move.new}")
    for name in NAMES:
        below = f"{old}/{name}".removeprefix(moved_from)
        assert f"{moved_to}{below}" == f"{new}/{name}"


def test_what_was_moved_into_a_folder_of_its_own_root_stays_there(plan):
    know(plan, "/cards", sized())
    find(plan, ("/cards/2024", sized() | sized(["late.WAV"])))
    assert note_moves(plan, ["/cards=/cards/2024"]) == [("/cards", "/cards/2024")]
    assert plan.count_known_below("/cards/2024") == 10
    assert note_moves(plan, ["/cards=/cards/2024"]) == []
    know(plan, "/cards", sized(["late.WAV"]))
    assert note_moves(plan, ["/cards=/cards/2024"]) == [("/cards", "/cards/2024")]
    assert plan.known_version("/cards/2024/late.WAV") == "5000-2"
    assert plan.count_known_below("/cards/2024/2024") == 0


@pytest.mark.parametrize("also_new", [0, 100])
def test_an_archive_of_which_a_part_is_gone_and_that_has_grown_is_found(plan, also_new):
    know(plan, "/old", sized())
    later = {f"north/later{number}.wav": 9000 for number in range(also_new)}
    assert find(plan, ("/new", {**sized(NAMES[:6]), **later})) == [
        Move("/old", "/new", 6, 6 + also_new)
    ]


def test_a_copied_folder_of_an_archive_does_not_take_the_rest_along(plan):
    know(plan, "/old", sized())
    few = {name: size for name, size in sized().items() if name.startswith("south/")}
    few.popitem()
    assert find(plan, ("/new", few)) == [Move("/old/south", "/new/south", 4, 4)]


def test_each_of_two_cards_that_have_changed_places_is_found(plan):
    know(plan, "/media/1", sized())
    know(plan, "/media/2", sized(first=8000))
    found = find(plan, ("/mnt/a", sized()), ("/mnt/b", sized(first=8000)))
    assert {(each.old, each.new) for each in found} == {
        ("/media/1", "/mnt/a"),
        ("/media/2", "/mnt/b"),
    }


@pytest.mark.parametrize("depth", range(6))
def test_of_sites_whose_names_and_sizes_are_alike_the_one_of_the_same_folder_is_meant(plan, depth):
    months = "".join(f"{level}/" for level in range(depth))
    names = [f"site{site}/{months}{hour}.wav" for site in range(9) for hour in range(3)]
    know(plan, "/old", dict.fromkeys(names, 5000))
    found = find(plan, ("/new", dict.fromkeys(names, 5000)))
    assert found == [Move("/old", "/new", 27, 27)]


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(sized(first=8000), id="other sizes"),
        pytest.param(sized([f"x{name}".replace("/", "/x") for name in NAMES]), id="other names"),
        pytest.param({**sized(first=8000), NAMES[3]: 5003}, id="one by chance"),
    ],
)
def test_another_archive_is_not_taken_for_one_that_has_moved(plan, sizes):
    know(plan, "/site1", sized())
    assert find(plan, ("/site2", sizes)) == []


def test_small_files_and_those_of_unknown_size_tell_nothing(plan):
    know(plan, "/site1", dict.fromkeys(NAMES, 44))
    assert find(plan, ("/site2", dict.fromkeys(NAMES, 44))) == []
    plan.note([Processed("/site1/x.wav", "", "io", "x.parquet", None)])
    plan.look([Found(AudioObject("/site2/x.wav", None, ""))])
    assert find_moves(plan) == []


def test_what_one_listing_shows_in_two_places_is_two_archives(plan):
    know(plan, "/data/site1", sized())
    assert find(plan, ("/data/site1", sized()), ("/data/site2", sized())) == []


def write(folder: Path, content: bytes) -> dict[str, int]:
    folder.mkdir()
    for name in ("a.wav", "b.wav"):
        (folder / name).write_bytes(content)
    return dict.fromkeys(("a.wav", "b.wav"), len(content))


@pytest.mark.parametrize("place", [0, 150_000, 299_999])
def test_recordings_of_two_sites_with_the_same_names_and_sizes_differ_in_content(
    tmp_path, plan, place
):
    content = bytearray(300_000)
    know(plan, str(tmp_path / "1"), write(tmp_path / "1", bytes(content)))
    content[place] = 1
    there = (str(tmp_path / "2"), write(tmp_path / "2", bytes(content)))
    assert find(plan, there) == []


def test_a_copy_is_found_though_the_original_is_there(tmp_path, plan):
    know(plan, str(tmp_path / "1"), write(tmp_path / "1", bytes(5000)))
    copy = (str(tmp_path / "2"), write(tmp_path / "2", bytes(5000)))
    assert find(plan, copy) == [Move(str(tmp_path / "1"), str(tmp_path / "2"), 2, 2)]


def test_noted_moves_are_processed_and_changed_ones_are_due(plan):
    know(plan, "/old", {"a.wav": 5000, "b.wav": 5001, "c.wav": 5002})
    find(plan, ("/new", {"a.wav": 5000, "b.wav": 7000}))
    assert note_moves(plan, ["/old=/new"]) == [("/old", "/new")]
    assert [each.object.uri for each in plan.due(Retry.UNREADABLE)] == ["/new/b.wav"]
    assert [plan.known_version(f"/new/{name}.wav") for name in "abc"] == [
        "5000-2",
        "5001-1",
        "5002-1",
    ]
    assert plan.known_version("/old/a.wav") is None
    assert note_moves(plan, ["/old=/new"]) == []  # as when the same command resumes


def test_the_roots_may_hold_the_sign_that_parts_them(plan):
    know(plan, "/year=2024", sized())
    find(plan, ("/y/year=2024", sized()))
    assert note_moves(plan, ["/year=2024=/y/year=2024"]) == [("/year=2024", "/y/year=2024")]


@pytest.mark.parametrize("sizes", [{}, {"a.wav": 1}])
def test_a_root_under_which_nothing_is_known_is_told(plan, sizes):
    know(plan, "/older", sizes)
    with pytest.raises(MoveError, match=r"no clip is known under /old$"):
        note_moves(plan, ["/old=/new"])


@pytest.mark.parametrize("archive", [("/else", sized()), ("/new", sized(first=9000)), ("/new", {})])
def test_a_new_root_that_is_not_that_of_the_archive_is_told(plan, archive):
    know(plan, "/old", sized())
    find(plan, archive)
    with pytest.raises(MoveError, match=r"found under /new that .* of a clip known under /old$"):
        note_moves(plan, ["/old=/new"])
    assert plan.count_known_below("/old") == len(NAMES)


def test_clips_that_are_known_under_both_roots_are_told(plan):
    know(plan, "/old", sized())
    know(plan, "/new", sized(NAMES[:2]))
    with pytest.raises(MoveError, match="2 of the clips under /old are known under /new, too"):
        note_moves(plan, ["/old=/new"])
