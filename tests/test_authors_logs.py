"""The importer on small files in the authors' format and, where their logs are at hand, the paper out of their runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synthlib.authors_logs import (
    BEST_SCORE_TABLES,
    COLUMNS,
    FOLDERS,
    LABELS,
    PRINTED_ARMS,
    check,
    evaluations_of,
    read_logs,
    replay,
    replay_updates,
    summary,
)
from synthlib.paper import DATASETS, logged_figures, matched_control, paper_arms, paper_seeds, paper_table
from synthlib.statistics import average_rows, score_cells, seed_scores
from synthlib.verdicts import EQUAL, against_paper

AUTHORS_LOGS = Path(__file__).parents[1] / "../shared/reference/authors_dt_logs.csv.gz"
needs_logs = pytest.mark.skipif(not AUTHORS_LOGS.exists(), reason="the authors' logs are not beside this checkout")

# The header of every progress.csv, here for an ant; the numbers in eight of the names are the target returns.
TARGETS = [
    f"current_itr_eval_{target}_{of}_{what}"
    for target in (2000, 5000)
    for of in ("return", "length")
    for what in ("mean", "std")
]
HEADER = [
    "current_itr_train_time",
    "current_itr_train_loss_mean",
    "current_itr_train_loss_std",
    *TARGETS,
    "TestEpRet",
    "TestEpNormRet",
    "Iteration",
    "Steps",
    "total_time",
    "current_eval_time",
]


def small_logs(arms, seeds=(42, 666), evaluations=5):
    """Made-up runs of every data set in the layout of the CSV, with nothing constant."""
    generator = np.random.default_rng(0)
    updates = 5000 * np.arange(1, evaluations + 1)
    keys = pd.MultiIndex.from_product([arms, DATASETS, seeds, updates], names=COLUMNS[:4])
    values = generator.uniform(1, 100, (len(keys), 4)).round(3)
    return pd.DataFrame(values, columns=COLUMNS[4:], index=keys).reset_index()


def write_clone(logs, root):
    """The runs as the authors' folders hold them."""
    for (arm, dataset, seed), run in logs.groupby(["arm", "dataset", "seed"]):
        environment, kind = dataset.split("-", 1)
        folder = f"{FOLDERS[arm]}_{environment}_{kind}"
        table = pd.DataFrame(-1.0, columns=HEADER, index=range(len(run)))
        table["Iteration"], table["Steps"] = range(1, len(run) + 1), run["updates"].to_numpy()
        table["TestEpRet"], table["TestEpNormRet"] = run["return"].to_numpy(), run["score"].to_numpy()
        table["current_itr_train_loss_mean"] = run["train_loss"].to_numpy()
        table["current_itr_train_time"] = run["train_seconds"].to_numpy()
        path = root / "code/checkpoints_current" / folder / f"{folder}_s{seed}"
        path.mkdir(parents=True)
        table.to_csv(path / "progress.csv", sep="\t", index=False)


def in_order(logs):
    return logs.sort_values(list(COLUMNS[:4])).reset_index(drop=True)


# --- the importer


def test_one_csv_and_a_clone_give_the_same_runs(tmp_path):
    logs = small_logs(["dt", "wiki", "t10.0@ratio0.1"])
    logs.to_csv(tmp_path / "logs.csv.gz", index=False)
    write_clone(logs, tmp_path / "clone")
    from_file = read_logs(tmp_path / "logs.csv.gz")
    from_clone = read_logs(tmp_path / "clone", arms=["dt", "wiki", "t10.0@ratio0.1"])
    assert tuple(from_file) == tuple(from_clone) == COLUMNS
    pd.testing.assert_frame_equal(from_file, logs)
    pd.testing.assert_frame_equal(in_order(from_clone), in_order(logs))
    wiki = read_logs(tmp_path / "logs.csv.gz", arms=["wiki"])
    pd.testing.assert_frame_equal(in_order(wiki), in_order(read_logs(tmp_path / "clone", arms=["wiki"])))


def test_seeds_are_not_taken_from_a_longer_folder_name(tmp_path):
    # "..._hopper_medium" is the beginning of "..._hopper_medium-expert"; both must find their own runs only.
    logs = small_logs(["dt"], seeds=(42,))
    write_clone(logs, tmp_path)
    assert read_logs(tmp_path, ["dt"]).groupby("dataset").size().to_dict() == dict.fromkeys(DATASETS, 5)


def test_what_is_not_there_or_damaged_is_refused(tmp_path):
    logs = small_logs(["dt"])
    with pytest.raises(FileNotFoundError, match="give a CSV of the authors' logs, or a clone"):
        read_logs(tmp_path / "nothing.csv")
    with pytest.raises(FileNotFoundError, match="check out the branch table_generator"):
        read_logs(tmp_path)
    with pytest.raises(ValueError, match="unknown arms 'cql'"):
        read_logs(tmp_path, arms=["cql"])
    write_clone(logs, tmp_path)
    with pytest.raises(FileNotFoundError, match="no run of 'wiki' on halfcheetah-medium-expert"):
        read_logs(tmp_path, arms=["dt", "wiki"])
    logs.drop(columns="score").to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="no column score"):
        read_logs(tmp_path / "a.csv")
    logs.replace({"ant-medium": "ant-random"}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ValueError, match="unknown data sets: ant-random"):
        read_logs(tmp_path / "b.csv")
    text = logs.to_csv(index=False)
    (tmp_path / "c.csv").write_text(text[: text.rindex(",", 0, -20)])
    with pytest.raises(ValueError, match="1 of 120 rows are incomplete"):
        read_logs(tmp_path / "c.csv")
    (tmp_path / "d.csv").write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(ValueError, match="0 of 0 rows"):
        read_logs(tmp_path / "d.csv")
    (tmp_path / "e.csv").write_bytes(b"")
    logs.to_csv(tmp_path / "f.csv.gz", index=False)
    (tmp_path / "f.csv.gz").write_bytes((tmp_path / "f.csv.gz").read_bytes()[:-500])
    for name in ("e.csv", "f.csv.gz"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as a table"):
            read_logs(tmp_path / name)
    progress = next(tmp_path.rglob("*_s42/progress.csv"))
    progress.write_text(progress.read_text()[:100])
    with pytest.raises(ValueError, match="it may be truncated"):
        read_logs(tmp_path, arms=["dt"])


# --- the replay


def test_tables_name_their_arms_and_every_label_is_a_folder():
    for number, arms in PRINTED_ARMS.items():
        assert tuple(arms) == paper_arms(number)
        assert set(arms.values()) <= set(FOLDERS)
    assert len(set(FOLDERS.values())) == len(FOLDERS)


def test_replayed_cells_are_our_arithmetic_on_the_right_runs():
    logs = small_logs(sorted(set(PRINTED_ARMS[26].values())), evaluations=6)
    table = replay(logs, 26)
    assert list(table[["table", "dataset", "arm"]].itertuples(index=False)) == list(
        paper_table(26)[["table", "dataset", "arm"]].itertuples(index=False)
    )
    runs = logs[(logs["arm"] == "dt-3seeds") & (logs["dataset"] == "ant-medium") & (logs["updates"] > 10_000)]
    seeds = runs.groupby("seed")["score"].mean()
    cell = table[(table["arm"] == "DT") & (table["dataset"] == "ant-medium")].iloc[0]
    assert (cell["mean"], cell["std"], cell["n"]) == pytest.approx((seeds.mean(), seeds.std(ddof=0), 2))
    of_dt = table[table["arm"] == "DT"]
    assert of_dt["mean"].iloc[-1] == pytest.approx(of_dt["mean"].iloc[:-1].mean())
    with pytest.raises(KeyError, match="Table 6 cannot be made of these runs"):
        replay(logs, 6)


def test_best_score_tables_take_the_best_evaluation():
    logs = small_logs(sorted(set(PRINTED_ARMS[18].values())))
    best = logs[(logs["arm"] == "wiki") & (logs["dataset"] == "ant-medium")].groupby("seed")["score"].max()
    cell = replay(logs, 18).query("arm == 'DT+Wiki' and dataset == 'ant-medium'").iloc[0]
    assert cell["mean"] == pytest.approx(best.mean())
    assert 18 in BEST_SCORE_TABLES and replay(logs, 1)["mean"].mean() < replay(logs, 18)["mean"].mean()


def test_check_tells_made_up_runs_from_the_authors():
    checked = check(small_logs(sorted({label for arms in PRINTED_ARMS.values() for label in arms.values()})))
    assert checked["equal"].mean() < 0.02
    assert " of 708 cells equal; 0 of 59 average rows equal; " in summary(checked)


# --- the authors' runs


@pytest.fixture(scope="module")
def authors_logs():
    if not AUTHORS_LOGS.exists():
        pytest.skip("the authors' logs are not beside this checkout")
    return read_logs(AUTHORS_LOGS)


@needs_logs
def test_every_cell_of_the_paper_comes_out_of_the_authors_runs(authors_logs):
    checked = check(authors_logs)
    assert checked[~checked["equal"]].empty
    expected = "708 of 708 cells equal; 59 of 59 average rows equal; 36 of 36 cells of Table 11 equal"
    assert summary(checked) == expected
    assert checked["reprint"].sum() == (2 + 3) * 13


@needs_logs
def test_a_run_less_is_seen_in_its_cell(authors_logs):
    without = authors_logs[~((authors_logs["arm"] == "wiki") & (authors_logs["seed"] == 42))]
    compared = against_paper(replay(without, 1), 1, "authors")
    different = compared[compared["verdict"] != EQUAL]
    assert set(different["arm"]) == {"DT+Wiki"} and len(different) > 6


@needs_logs
def test_columns_mean_what_we_say(authors_logs):
    # First evaluation of one run, copied from its progress.csv; the CSV keeps six digits.
    run = authors_logs.query("arm == 'identity' and dataset == 'ant-medium-expert' and seed == 1024").iloc[0]
    raw = {"Steps": 5000, "TestEpRet": 4096.620329942643, "TestEpNormRet": 105.15826052701695}
    assert run["updates"] == raw["Steps"]
    assert (run["return"], run["score"]) == pytest.approx((raw["TestEpRet"], raw["TestEpNormRet"]), rel=5e-6)
    # current_itr_train_loss_mean and current_itr_train_time
    assert (run["train_loss"], run["train_seconds"]) == pytest.approx(
        (0.1651121585767716, 1372.5963184833527), rel=5e-6
    )


@needs_logs
def test_runs_behind_a_column_are_as_many_as_the_paper_package_says(authors_logs):
    for number, arms in PRINTED_ARMS.items():
        table = replay(authors_logs, number).groupby("arm")["n"]
        for arm in arms:
            assert set(table.get_group(arm)) == {paper_seeds(number, arm)}, (number, arm)


@needs_logs
def test_table_11_follows_up_to_one_evaluation_in_one_run(authors_logs):
    table = replay_updates(authors_logs).set_index(["dataset", "arm"])["value"]
    # The run that decides whether the target is rounded to 0.1; the authors' stored value for it is 30,000 updates.
    run = evaluations_of(authors_logs, 1).query(
        "arm == 'DT+Wiki' and dataset == 'hopper-medium-replay' and seed == 6049"
    )
    assert run.loc[run["updates"] == 30_000, "return"].item() == 1443.60
    assert table["hopper-medium-replay", "DT+Wiki"] == 28.25


@needs_logs
def test_logged_figures_follow_from_the_runs(authors_logs):
    labels = {**LABELS, "DT, matched": "control-mc-step1", "DT+Synthetic+60K more": "mc1-160k"}
    ratio_labels = {**labels, "S100": "s100", "tau=10": "t10.0", "IID uniform": "tiid"}
    per_dataset = authors_logs.groupby(["arm", "updates", "dataset"])[["score", "train_loss"]].mean()
    curves = per_dataset.groupby(["arm", "updates"]).mean()
    final = average_rows(score_cells(seed_scores(authors_logs))).set_index("arm")["mean"]
    for row in logged_figures().itertuples():
        if row.figure == "Figure 11":
            ours, half_a_digit = final[f"{ratio_labels[row.arm]}@ratio{row.x}"], 0.05
        elif row.value_name == "training loss":
            ours, half_a_digit = curves.loc[(labels[row.arm], row.x), "train_loss"], 0.00005
        else:
            ours, half_a_digit = curves.loc[(labels[row.arm], row.x), "score"], 0.05
        assert ours == pytest.approx(row.value, abs=1.002 * half_a_digit), row


@needs_logs
def test_matched_control_follows_from_the_runs(authors_logs):
    labels = {"control-mc-step1": "DT, matched", "control-iid-step1": "DT, matched (IID side)"}
    runs = authors_logs[authors_logs["arm"].isin(labels)].replace({"arm": labels})
    for metric, stated in matched_control().groupby("metric"):
        cells = score_cells(seed_scores(runs, metric)).merge(stated, on=["arm", "dataset"], suffixes=("", "_stated"))
        assert len(cells) == 24 and (cells["n"] == 20).all()
        for name in ("mean", "std"):
            assert (cells[name] - cells[f"{name}_stated"]).abs().max() < 0.00501
