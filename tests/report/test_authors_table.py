"""The table of the authors' evaluations: nothing of the logs is lost in it, and damage is told."""

import pandas as pd
import pytest

from synthlib.report.authors_logs import read_logs
from synthlib.report.authors_table import TABLE, main, packed, unpacked, write_table
from synthlib.tasks import environment_of, normalised_score
from tests.common import SHARED, small_logs

RAW = SHARED / "reference/authors_dt_logs.csv.gz"


def consistent_logs(arms):
    """Made-up runs whose score follows from the return, one of them evaluated less often than the others."""
    logs = small_logs(arms)
    for dataset, rows in logs.groupby("dataset").groups.items():
        logs.loc[rows, "score"] = normalised_score(environment_of(dataset), logs.loc[rows, "return"])
    return logs.drop(logs.index[7]).reset_index(drop=True)


def test_every_number_comes_back(tmp_path):
    logs = consistent_logs(["wiki", "dt"])
    pd.testing.assert_frame_equal(unpacked(packed(logs)), logs, check_names=False)
    pd.testing.assert_frame_equal(read_logs(write_table(logs, tmp_path / "table.csv.xz")), logs, check_names=False)


def test_a_part_of_a_table_is_refused_in_words(tmp_path):
    path = write_table(consistent_logs(["dt"]), tmp_path / "table.csv.xz")
    table = pd.read_csv(path)
    for part, said in ((table[:-1], "all quantities of every run"), (table[:10], "the quantities return; wanted")):
        part.to_csv(tmp_path / "part.csv", index=False)
        with pytest.raises(ValueError, match=rf"part\.csv is not a whole table of evaluations: .*{said}"):
            read_logs(tmp_path / "part.csv")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"table\.csv\.xz cannot be read as a table, it may be truncated"):
        read_logs(path)


def test_the_committed_table_is_small_and_whole():
    logs = read_logs(TABLE)
    assert (len(logs), len(logs[["arm", "dataset", "seed"]].drop_duplicates())) == (210_653, 10_152)
    assert TABLE.stat().st_size < 2_000_000


@pytest.mark.slow
@pytest.mark.skipif(not RAW.exists(), reason="the logs as they were read are not beside this checkout")
def test_the_committed_table_holds_the_logs(tmp_path, monkeypatch, capsys):
    made = tmp_path / "made.csv.xz"
    monkeypatch.setattr("synthlib.report.authors_table.write_table.__defaults__", (made,))
    main(str(RAW))
    assert "210,653 evaluations of 10,152 runs" in capsys.readouterr().out
    assert made.read_bytes() == TABLE.read_bytes()
    logs, raw = read_logs(TABLE), read_logs(RAW)
    exact = ["arm", "dataset", "seed", "updates", "return", "train_loss", "train_seconds"]
    pd.testing.assert_frame_equal(logs[exact], raw[exact], check_exact=True)
    assert (logs["score"] - raw["score"]).abs().max() < 0.0011  # six digits of the return give the sixth of the score
