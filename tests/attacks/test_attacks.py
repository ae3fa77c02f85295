"""Short versions of ``make attack``."""

import pytest

from tests.attacks import disks, power_cuts, processes


@pytest.mark.slow
@pytest.mark.skipif(not power_cuts.is_possible(), reason="only root may mount an image of a disk")
def test_a_power_cut_loses_nothing_that_had_ended(tmp_path):
    result = power_cuts.attack(tmp_path, 4)
    assert result.is_clean, result.notes


def test_a_stopped_writer_loses_nothing(tmp_path):
    result = processes.stopped_writers(tmp_path, 2)
    assert result.is_clean, result.notes


@pytest.mark.slow
def test_kills_lose_nothing(tmp_path):
    result = processes.kills(tmp_path, 6)
    assert result.is_clean, result.notes


@pytest.mark.slow
def test_racing_commands_do_no_work_twice(tmp_path):
    result = processes.races(tmp_path, 1)
    assert result.is_clean, result.notes


@pytest.mark.parametrize("kind", disks.KINDS)
def test_a_flipped_bit_is_noticed_or_changes_nothing(kind, tmp_path):
    result = disks.bit_flips(tmp_path, 2, kind)
    assert result.is_clean, result.notes


@pytest.mark.skipif(not disks.may_mount(), reason="only root may mount a small disk")
def test_a_full_disk_is_named_and_loses_nothing(tmp_path):
    result = disks.full_disks(tmp_path, 2)
    assert result.is_clean, result.notes
