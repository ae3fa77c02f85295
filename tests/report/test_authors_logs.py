"""The importer on small files in the authors' format, and what their columns mean where the logs are at hand."""

import socket
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from synthlib.paper import logged_figures, logged_scores, matched_control, paper_arms
from synthlib.report.authors_logs import (
    COLUMNS,
    FOLDERS,
    LABELS,
    arms_without_logs,
    download_logs,
    find_logs,
    log_labels,
    logged_evaluations,
    read_logs,
    run_folder,
)
from synthlib.report.sources import runs_of_authors
from synthlib.report.statistics import average_rows, score_cells, seed_scores
from synthlib.study.params import artefact_names, load_artefact
from synthlib.tasks import DATASETS
from tests.common import AUTHORS_LOGS, small_logs

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


# --- which runs are whose


NOT_ASKED_BY_THE_AUTHORS = {"pretraining_recipes", "dt_pretraining_seeds", "dt_start", "dial_chain", "nested_brackets"}


def dt_artefacts():
    artefacts = [load_artefact(name) for name in artefact_names() if name not in NOT_ASKED_BY_THE_AUTHORS]
    return [artefact for artefact in artefacts if artefact.algorithm == "dt"]


def test_every_arm_of_every_dt_artefact_is_a_folder_of_the_authors_or_a_control_of_ours():
    for artefact in dt_artefacts():
        ours = arms_without_logs(artefact)
        assert set(log_labels(artefact)) == set(artefact.arms) - set(ours)
        if artefact.paper_table is not None and artefact.metric != "updates":
            assert not set(ours) & set(paper_arms(artefact.paper_table))
        assert set(log_labels(artefact).values()) <= set(FOLDERS)
    assert len(set(FOLDERS.values())) == len(FOLDERS)
    assert arms_without_logs(load_artefact("table26")) == ["DT+Wiki, matched"]
    assert arms_without_logs(load_artefact("figure10")) == []
    assert len(arms_without_logs(load_artefact("figure11"))) == 5  # the control on parts of the data


def test_a_readers_own_arm_is_left_out_of_the_authors_runs_and_is_told():
    table_2 = load_artefact("table2")
    table_2 = replace(table_2, arms=table_2.arms | {"mine": {"chain": {"states": 50}}})
    runs = runs_of_authors(table_2, small_logs(sorted(set(log_labels(table_2).values()))))
    assert "mine" in table_2.arms and "mine" not in runs.artefact.arms
    assert "mine, which the authors did not run" in runs.missing


def test_an_arm_whose_own_control_the_authors_did_not_run_is_held_against_the_one_they_have():
    table_27 = load_artefact("table27")
    assert table_27.control_of("DT+Mapping") == "DT+Mapping, matched"
    runs = runs_of_authors(table_27, small_logs(sorted(set(log_labels(table_27).values()))))
    assert runs.artefact.control_of("DT+Mapping") == "DT, matched"
    assert "DT+Mapping, matched, which the authors did not run" in runs.missing


def test_equal_settings_are_equal_runs_in_every_table():
    # But for Table 26's DT and the re-runs of Figure 8, which the descriptions name.
    runs = {}
    for artefact in dt_artefacts():
        labels = log_labels(artefact)
        for arm, settings in artefact.arms.items():
            settings = {"chain": {"states": 100}} if settings.get("pretraining_updates") == 20_000 else settings
            if arm in labels and arm not in artefact.authors:
                runs.setdefault(str(settings), set()).add(labels[arm])
    shared = {settings: found for settings, found in runs.items() if len(found) > 1}
    assert shared == {}


def test_evaluations_carry_the_artefacts_names():
    table_26 = load_artefact("table26")
    logs = small_logs(sorted(set(log_labels(table_26).values())))
    chosen = logged_evaluations(logs, table_26)
    assert list(chosen["arm"].unique()) == [arm for arm in table_26.arms if arm != "DT+Wiki, matched"]
    of_dt = chosen[chosen["arm"] == "DT"]["score"].to_numpy()
    np.testing.assert_array_equal(of_dt, logs[logs["arm"] == "dt-3seeds"]["score"])
    with pytest.raises(ValueError, match="table1, arm 'DT': no run of 'dt' in these logs"):
        logged_evaluations(logs, load_artefact("table1"))
    with pytest.raises(ValueError, match="table6: the authors' logs have no run of 'CQL'; they hold no CQL"):
        logged_evaluations(logs, load_artefact("table6"))
    assert log_labels(load_artefact("figure11"))["S100 @ 0.2"] == "s100@ratio0.2"
    assert run_folder("t10", "ant-medium", 7) == "chibiT-syn-20seeds-temps-wo_T10.0_ant_medium_s7"


# --- where the logs are


def test_logs_are_found_where_one_says(tmp_path, monkeypatch, outputs):
    (tmp_path / "a.csv").touch()
    assert find_logs(str(tmp_path / "a.csv")) == tmp_path / "a.csv"
    assert find_logs() == AUTHORS_LOGS  # the repository's own table
    monkeypatch.setenv("AUTHORS_LOGS", str(tmp_path))
    assert find_logs() == tmp_path
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv is not there"):
        find_logs(str(tmp_path / "nothing.csv"))


def test_a_download_fetches_the_run_tables_only_and_once(tmp_path):
    logs = small_logs(["dt"], seeds=(42,))
    origin = tmp_path / "origin"
    write_clone(logs, origin)
    (origin / "code/big.bin").write_text("weights")
    git = ["git", "-C", str(origin), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q", "-b", "table_generator"], ["add", "."], ["commit", "-qm", "runs"]):
        subprocess.run([*git, *command], check=True)
    folder = download_logs(tmp_path / "cache" / "logs", repository=f"file://{origin}")
    assert not (folder / "code/big.bin").exists()
    pd.testing.assert_frame_equal(in_order(read_logs(folder, ["dt"])), in_order(logs))
    assert download_logs(folder, repository="file:///nowhere") == folder
    with pytest.raises(OSError, match=r"file:///nowhere cannot be fetched: .*Name a clone or a CSV with LOGS=path"):
        download_logs(tmp_path / "other", repository="file:///nowhere")
    assert not (tmp_path / "other").exists()


def test_a_server_that_never_answers_is_not_waited_for_forever(tmp_path, monkeypatch):
    silent = socket.create_server(("127.0.0.1", 0))  # it takes the connection and says nothing
    monkeypatch.setattr("synthlib.report.authors_logs._LONGEST", 1)
    with silent, pytest.raises(OSError, match=r"did not come in 1 s. Name a clone or a CSV with LOGS=path"):
        download_logs(tmp_path / "logs", repository=f"git://127.0.0.1:{silent.getsockname()[1]}/logs")
    assert not (tmp_path / "logs").exists()


# --- the authors' runs


@pytest.fixture(scope="module")
def authors_logs():
    return read_logs(AUTHORS_LOGS)


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


def test_logged_scores_follow_from_the_runs(authors_logs):
    labels = {"DT": "dt", "DT, matched": "control-mc-step1", "DT+Wiki": "wiki", "DT+Synthetic": "mc1-s100-t1-20k"}
    stated = logged_scores()
    assert len(stated) == 3 * 12 * 4
    for updates, of_moment in stated.replace({"arm": labels}).groupby("updates"):
        there = authors_logs[(authors_logs["updates"] == updates) & authors_logs["arm"].isin(labels.values())]
        cells = score_cells(there).merge(of_moment, on=["arm", "dataset"], suffixes=("", "_stated"))
        assert len(cells) == 48 and (cells["n"] == cells["n_stated"]).all()
        for name in ("mean", "std"):
            assert (cells[name] - cells[f"{name}_stated"]).abs().max() < 0.00501


def test_matched_control_follows_from_the_runs(authors_logs):
    labels = {"control-mc-step1": "DT, matched", "control-iid-step1": "DT, matched (IID side)"}
    runs = authors_logs[authors_logs["arm"].isin(labels)].replace({"arm": labels})
    for metric, stated in matched_control().groupby("metric"):
        cells = score_cells(seed_scores(runs, metric)).merge(stated, on=["arm", "dataset"], suffixes=("", "_stated"))
        assert len(cells) == 24 and (cells["n"] == 20).all()
        for name in ("mean", "std"):
            assert (cells[name] - cells[f"{name}_stated"]).abs().max() < 0.00501


def test_the_early_loss_tells_a_pretrained_network_from_the_control_on_every_data_set(authors_logs):
    # What params/pretraining_recipes.yaml goes by.
    loss = authors_logs[authors_logs["updates"] == 5000].groupby(["arm", "dataset"])["train_loss"]
    mean, spread = loss.mean(), loss.std()
    share = mean["mc1-s100-t1-20k"] / mean["control-mc-step1"]
    assert len(share) == 12 and share.min() > 0.85 and share.max() < 0.94
    for arm in ("mc1-s100-t1-20k", "control-mc-step1"):
        assert (spread / mean)[arm].min() > 0.02 and (spread / mean)[arm].max() < 0.095
