"""What runs on Dataflow take and cost: the arithmetic, beside an example worked out by hand."""

from __future__ import annotations

import pytest
from apache_beam.testing.load_tests import dataflow_cost_consts

from benchmarks.archives import FORMATS
from benchmarks.dataflow_cost import (
    PAGE,
    SOUNDS,
    Archive,
    Prices,
    Sound,
    Workers,
    bill,
    calculation,
    main,
    measured_sounds,
    total_usd,
    usage,
    with_tables,
)

ARCHIVE = Archive(
    hours=1000, sound=Sound(cpu_s=9, megabytes=360), recording_s=600, shuffled_bytes=200_000
)
WORKERS = Workers(
    workers=5, vcpus=4, memory_gb=16, disk_gb=50, slowdown=2, busy=0.5,
    round_s=1000, start_s=100, writes=500,
)  # fmt: skip
PRICES = Prices(
    vcpu_hour=0.05, memory_gb_hour=0.004, disk_gb_hour=0.0001, shuffle_gb=0.01,
    class_a=0.005, class_b=0.0004, egress_gb=0.02,
)  # fmt: skip


def test_what_it_takes_is_what_was_worked_out_by_hand():
    """1000 h of 9 CPU s are 9000 s, there 18,000; 20 vCPUs half busy are 10: 1800 s of hearing.

    6000 recordings of 60 MB, 0.3 s each. A first round of 10 GB: 166.7 in 50 s, and 100 s to start;
    the next may be 1000 / 150 times as large, 1111.1, and takes 433.3 s; then 2564.1, in 869.2 s;
    the fourth may be 2949.9, and has the 2158.1 that are left. So 4 times 100 s and 1800 s: 2200.
    Five machines for 2200 s are 3.0556 machine hours. Each recording is four pieces of 16 MB and
    three requests more.
    """
    used = usage(ARCHIVE, WORKERS)
    assert used.jobs == 4
    assert used.wall_s == pytest.approx(2200)
    assert used.vcpu_hours == pytest.approx(12.2222, rel=1e-4)
    assert used.memory_gb_hours == pytest.approx(48.8889, rel=1e-4)
    assert used.disk_gb_hours == pytest.approx(152.7778, rel=1e-4)
    assert used.shuffle_gb == pytest.approx(0.4)
    assert used.class_a == 6 + 2000
    assert used.class_b == 42_000
    assert used.read_gb == pytest.approx(360)


def test_what_it_costs_is_what_was_worked_out_by_hand():
    lines = bill(usage(ARCHIVE, WORKERS), PRICES)
    assert [line.usd for line in lines] == pytest.approx(
        [0.611111, 0.195556, 0.0152778, 0.004, 0.01003, 0.0168, 7.2], rel=1e-4
    )
    assert total_usd(lines) == pytest.approx(8.052774, rel=1e-4)


def test_prices_are_those_that_beam_counts_with():
    listed, ours = dataflow_cost_consts, Prices()
    assert ours.vcpu_hour == listed.VCPU_PER_HR_BATCH
    assert ours.memory_gb_hour == listed.MEM_PER_GB_HR_BATCH
    assert ours.disk_gb_hour == listed.PD_PER_GB_HR
    assert ours.shuffle_gb == listed.SHUFFLE_PER_GB_BATCH


def test_twice_the_workers_take_half_the_time_of_hearing_and_as_many_hours():
    few = usage(ARCHIVE, Workers(workers=10, start_s=0))
    many = usage(ARCHIVE, Workers(workers=20, start_s=0))
    assert many.wall_s == pytest.approx(few.wall_s / 2)
    assert many.vcpu_hours == pytest.approx(few.vcpu_hours)


def test_an_archive_that_is_heard_in_no_time_is_still_a_job():
    used = usage(Archive(hours=0.1, sound=SOUNDS["mp3"]), Workers(workers=500))
    assert used.jobs == 1
    assert used.wall_s > Workers(workers=500).start_s


def test_an_hour_is_what_the_table_of_whole_runs_says():
    """Two files of half an hour, below another table with the same formats."""
    page = """
### Steady state
| format | CPU ms |
| --- | --- |
| wav | 99 |
### Whole runs over 2 files of 30 minutes (1 h of sound)

| format | MB | earmark s | CPU s | peak MB |
| --- | ---: | ---: | ---: | ---: |
| wav | 600 | 5 | 8.5 | 400 |
| opus | 60 | 9 | 16 | 400 |

### Others
"""
    assert measured_sounds(page) == {"wav": Sound(8.5, 600), "opus": Sound(16, 60)}


def test_a_page_without_whole_runs_is_refused():
    with pytest.raises(ValueError, match="whole runs"):
        measured_sounds("# Performance")


def test_each_format_is_in_the_page():
    assert list(SOUNDS) == list(FORMATS)


def test_prices_can_be_named(capsys):
    main(["--hours", "1000", "--format", "wav", "--workers", "5", "--vcpu_hour", "0.07"])
    shown = capsys.readouterr().out
    assert "check them" in shown
    (vcpus,) = (line for line in shown.splitlines() if line.startswith("| vCPU, hours"))
    assert "0.07" in vcpus


def test_the_page_has_the_tables_of_what_was_measured():
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, SOUNDS) == page, "run python -m benchmarks.dataflow_cost --write"


def test_the_steps_of_the_calculation_are_those_worked_out_by_hand():
    """See the first test: 18,000 s there, 10 busy vCPUs; 4 jobs; 2200 s; 6000 recordings."""
    steps = " ".join(calculation(ARCHIVE, WORKERS).split())
    for step in (
        "9.00 s per hour, times 2 is 18 s",
        "18,000 / 10 = 1,800 s",
        "1,800 s plus 4 times 100 s to start and stop: 2,200 s, or 0.611 h",
        "3 machine hours; times 4 vCPUs",
        "(3 + 4 for 60 MB, 16 MB at a time)",
    ):
        assert step in steps
