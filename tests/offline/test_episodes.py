"""Where episodes end: what the flags say, what next_observations show, and what is refused when the two disagree."""

import numpy as np
import pytest

from synthlib.offline.arrays import DataFileError
from synthlib.offline.episodes import episode_bounds, known_timeouts

LIMIT = 10


def file_of(lengths, flags, unfinished=0, next_observations=True, seed=0):
    """Arrays of episodes with these lengths; ``flags`` says for each what marks its last row: "terminals", "timeouts"
    or "" for nothing. ``unfinished`` rows come after the last one."""
    rows = sum(lengths) + unfinished
    rng = np.random.default_rng(seed)
    arrays = {"observations": rng.normal(size=(rows, 3)).astype(np.float32)}
    arrays |= {name: np.zeros(rows, dtype=bool) for name in ("terminals", "timeouts")}
    ends = np.cumsum(lengths, dtype=int) - 1
    for end, flag in zip(ends, flags, strict=True):
        if flag:
            arrays[flag][end] = True
    if next_observations:
        following = np.roll(arrays["observations"], -1, axis=0)
        following[ends] = rng.normal(size=(len(ends), 3))
        arrays["next_observations"] = following
    return arrays


def known(arrays, environment="hopper"):
    return known_timeouts(arrays, environment, "file", LIMIT)[0]


def note(arrays):
    return known_timeouts(arrays, "hopper", "file", LIMIT)[1]


def without(arrays, name):
    return {key: array for key, array in arrays.items() if key != name}


@pytest.mark.parametrize("next_observations", [True, False])
@pytest.mark.parametrize(
    "flags", [("terminals", "timeouts", "terminals"), ("terminals",) * 3], ids=["some timeouts", "no timeout"]
)
def test_flags_that_fit_are_left_as_they_are(flags, next_observations):
    arrays = file_of((4, 10, 7), flags, unfinished=3, next_observations=next_observations)
    assert known(arrays) is arrays["timeouts"] and note(arrays) == ""


def test_timeouts_that_are_all_false_are_found_in_the_successors():
    arrays = file_of((4, 10, 10, 7), ("terminals", "", "", "terminals"), unfinished=3)
    np.testing.assert_array_equal(np.flatnonzero(known(arrays)), [13, 23])
    assert note(arrays) == "time ran out in 2 rows, as next_observations show and the flags do not say"
    np.testing.assert_array_equal(np.flatnonzero(known(without(arrays, "timeouts"))), [13, 23])
    arrays["next_observations"] = arrays["next_observations"].astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(np.flatnonzero(known(arrays)), [13, 23], err_msg="rounding is no jump")


def test_without_timeouts_and_successors_d4rls_program_counts():
    arrays = without(file_of((10, 10), ("", "")), "timeouts")
    assert known(without(arrays, "next_observations")) is None
    rolled = arrays | {"next_observations": np.roll(arrays["observations"], -1, axis=0)}
    assert known(rolled) is None, "successors that say nothing either"


def test_the_seam_of_two_joined_files_is_read_as_d4rl_reads_it():
    """D4RL's own medium-expert files: the unfinished end of the first runs on into the second, beyond the limit."""
    lengths, flags = [10, 9] * 60, ["timeouts", "terminals"] * 60
    arrays = file_of([*lengths, 6, *lengths], [*flags, "", *flags])
    for one in (arrays, without(arrays, "next_observations")):
        assert known(one) is arrays["timeouts"]
        assert note(one) == "1 ends of episodes are not marked, as in D4RL's own joined files"
    arrays = file_of([*lengths[:60], 6, *lengths[:20]], [*flags[:60], "", *flags[:20]])
    with pytest.raises(DataFileError, match="next_observations is not the next row's observation in 1 of the"):
        known(arrays)
    with pytest.raises(DataFileError, match="no episode ends in the 16 steps"):
        known(without(arrays, "next_observations"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("timeouts", "", "", "timeouts"), r"in 2 of the 33 rows that end no episode \(first: 13\)"),
        (("terminals", "", "terminals", "terminals"), r"in 1 of the 32 rows that end no episode \(first: 13\)"),
    ],
    ids=["two seams", "one end, and no timeouts"],
)
def test_ends_that_no_flag_marks_and_no_time_limit_explains_are_refused(flags, message):
    with pytest.raises(DataFileError, match=message + ", so rows were moved, left out or joined; put them into"):
        known(file_of((4, 10, 11, 10), flags) if "timeouts" in flags else file_of((5, 9, 11, 10), flags))


@pytest.mark.parametrize(
    "move", [np.random.default_rng(0).permutation, lambda rows: rows[::2], lambda rows: rows[::-1]]
)
def test_rows_that_another_tool_moved_are_refused(move):
    arrays = file_of((4, 10, 7, 9) * 5, ("terminals", "timeouts") * 10)
    rows = move(np.arange(150))
    with pytest.raises(DataFileError, match="next_observations is not the next row's observation in"):
        known({name: array[rows] for name, array in arrays.items()})


def test_an_episode_beyond_the_time_limit_is_refused_where_nothing_shows_its_end():
    arrays = file_of((4, 10, 7), ("terminals", "", "terminals"), next_observations=False)
    with pytest.raises(
        DataFileError, match=r"no episode ends in the 17 steps from row 4 on, .* is 10; .*or remove them"
    ):
        known(arrays)
    arrays = file_of((4, 10, 17, 25), ("timeouts", "timeouts", "", "timeouts"), next_observations=False)
    with pytest.raises(DataFileError, match=r"in the 42 steps from row 14 on, .* in the last row of every episode$"):
        known(arrays)


@pytest.mark.parametrize("timeouts", [True, False])
def test_no_end_at_all_is_refused(timeouts):
    arrays = file_of((), (), unfinished=9)
    with pytest.raises(DataFileError, match=r"file: no episode ends in its 9 rows; set terminals or timeouts"):
        known(arrays if timeouts else without(arrays, "timeouts"))


def test_inverted_flags_are_refused():
    arrays = file_of((4, 10, 7), ("terminals",) * 3)
    with pytest.raises(DataFileError, match=r"18 of 21 rows end an episode; .* may be inverted"):
        known(arrays | {"terminals": ~arrays["terminals"]})


def test_a_cheetah_that_terminates_is_refused():
    arrays = file_of((10, 10), ("terminals", "terminals"))
    assert known(arrays, "hopper") is arrays["timeouts"]
    with pytest.raises(DataFileError, match=r"True in 2 rows \(first: 9\), but halfcheetah never terminates"):
        known(arrays, "halfcheetah")


def test_whole_episodes_are_counted_and_the_rest_is_left_out():
    ends = np.array([False, True, True, False])
    starts, stops = episode_bounds(ends)
    assert starts.tolist() == [0, 2] and stops.tolist() == [2, 3]
    starts, stops = episode_bounds(np.zeros(5, dtype=bool))
    assert len(starts) == len(stops) == 0
