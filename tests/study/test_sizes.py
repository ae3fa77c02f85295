"""What a preset runs in place of the paper's updates is said; unequal totals are not compared as if they were equal."""

import math
from collections import Counter

import matplotlib.pyplot as plt
import pytest

from synthlib.paths import store_root
from synthlib.report.evidence import finished
from synthlib.report.sources import open_runs
from synthlib.runs.store import Store
from synthlib.study.params import ParameterError, load_artefact
from synthlib.study.plan import make_plan
from synthlib.study.presets import presets
from synthlib.study.sizes import run_sizes, unequal_totals, with_size

AT_EQUAL_TOTALS = ["figure8", "table26", "table28"]


def finish(plan):
    """Write made-up evaluations and losses for every fine-tuning of a plan, as if it were trained."""
    store = Store(store_root())
    for job in plan.jobs():
        session = store.open(job)
        every = job.config.get("evaluation", {}).get("every", math.inf)
        done = range(every, job.updates + 1, every) if every < math.inf else ()
        rows = [
            {"updates": updates, "score": updates / 10 + job.config["seed"], "return_mean": 1.0} for updates in done
        ]
        losses = [{"updates": row["updates"], "combined_loss_last_minibatch": 1.0, "train_loss": 1.0} for row in rows]
        session.save({}, job.updates, rows, losses)
        for updates in job.keep:
            session.save_weights(updates, {})
        session.release()


@pytest.fixture
def report(outputs):
    """A function that returns the report of an artefact whose runs under ``quick`` are made up."""
    yield lambda name: (finish(make_plan(name, "quick", "replica")), open_runs("own", "quick").report(name))[1]
    plt.close("all")


def totals(plan):
    return {cell.arm: cell.job.updates + sum(job.updates for job in cell.job.requires) for cell in plan.cells}


@pytest.mark.parametrize("preset", presets())
@pytest.mark.parametrize("name", AT_EQUAL_TOTALS)
def test_arms_have_equal_totals_or_the_comparison_is_refused(name, preset):
    if load_artefact(name).algorithm not in presets()[preset]:
        pytest.skip("this preset has no size for it")
    plan = make_plan(name, preset, None)
    refused, found = unequal_totals(plan), totals(plan)
    for group in plan.artefact.equal_totals:
        there = [found[arm] for arm in group if arm in found]
        assert (tuple(arm for arm in group if arm in found) in refused) == (len(set(there)) > 1)
    assert not refused if preset == "paper" else refused


def test_the_sentence_says_the_totals_and_the_papers():
    (sentence,) = unequal_totals(make_plan("table28", "overnight", None)).values()
    assert sentence == (
        "Not to be compared at equal numbers of updates: with preset overnight, pre-training included, "
        "CQL+100K more has 66,000, CQL+MDP has 160,000, CQL+IID has 160,000; in the paper each has 1,100,000 "
        "(PRESET=paper)"
    )


def test_a_preset_that_keeps_the_papers_proportions_is_compared(spoil):
    spoil("presets", lambda file: file["smoke"]["cql"].update(updates=1000, pretraining_scale=0.001))
    plan = make_plan("table28", "smoke", None)
    assert totals(plan)["CQL+100K more"] == totals(plan)["CQL+MDP"] == 1100 and not unequal_totals(plan)


def test_a_description_may_name_only_its_own_arms(spoil):
    spoil("table28", lambda file: file.update(equal_totals=[["CQL", "CQL+2M more"]]))
    with pytest.raises(ParameterError, match="equal_totals names 'CQL\\+2M more', which is not among its arms"):
        load_artefact("table28")


@pytest.mark.parametrize(
    ("name", "arms"),
    [
        ("table5", {"1k": 10, "10k": 100, "20k": 200, "40k": 400, "60k": 600, "80k": 800}),
        ("table8", {"1K": 20, "10K": 200, "40K": 800, "100K": 2_000, "500K": 10_000, "1M": 20_000}),
        pytest.param("table26", {"DT+20K more": 100, "DT+80K more": 400}, marks=pytest.mark.slow),
        pytest.param("table28", {"CQL+100K more": 100}, marks=pytest.mark.slow),
    ],
)
def test_columns_that_are_named_by_a_size_say_what_was_run(name, arms, report):
    assert not run_sizes(make_plan(name, "paper", None)).keys() & arms.keys()
    made = report(name)
    labels = {arm: f"{arm} (here {run:,})" for arm, run in arms.items()}
    columns = [made.label(arm) for arm in made.artefact.arms]
    assert list(made.wide().columns) == columns and set(labels.values()) <= set(columns)
    assert set(labels.values()) <= set(made.comparison_table().index.get_level_values(0))
    assert set(labels.values()) <= set(made.overall_table().index)
    figure, alt = made.figure("curves")
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert set(labels.values()) <= legend and not set(arms) & legend and all(label in alt for label in labels.values())
    assert "(here n): the updates that were run in place of the named number" in made.caption()
    assert set(made.cells["arm"]) == set(made.artefact.arms)  # the paper's cells are found by the paper's names


def test_only_a_number_of_updates_in_a_name_is_replaced():
    sizes = {1000: 20, 20_000: 4}
    names = {"1K": "1K (here 20)", "1k": "1k (here 20)", "DT+20K more": "DT+20K more (here 4)", "40K": "40K"}
    names |= {"S1000": "S1000", "S=1K": "S=1K (here 20)", "1.1K": "1.1K", "1-MC": "1-MC", "x20K": "x20K"}
    assert {name: with_size(name, sizes) for name in names} == names


def test_figures_with_panels_say_what_was_run_too(report):
    figure, alt = report("figure16").figure("figure16")
    legend = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    counted = ["10K (here 200)", "40K (here 800)", "100K (here 2,000)", "500K (here 10,000)"]
    assert legend == ["CQL", "CQL, matched", *counted]
    assert "Pre-training updates: 10K (here 200) " in alt


@pytest.mark.parametrize(
    ("home", "name"),
    [
        ("table7", "figure2"),
        *(pytest.param("table7", name, marks=pytest.mark.slow) for name in ("figure5", "figure6")),
        pytest.param("table29", "figure15", marks=pytest.mark.slow),
    ],
)
def test_curves_that_would_have_no_updates_in_common_are_not_shifted_and_the_figure_says_why(home, name, report):
    figure, alt = report(home).figure(name)
    starts = {line.get_xdata()[0] for axis in figure.axes for line in axis.get_lines()}
    assert starts == {100}  # all of them begin at the first evaluation
    said = "Not shifted by the updates of pre-training (CQL+MDP 2,000, CQL+"
    why = "2,000): other curves end after 600"
    for text in (alt, " ".join(figure._supxlabel.get_text().split())):
        assert said in text and why in text and "Cut at equal totals" not in text
    assert figure.axes[0].get_xlabel() == "fine-tuning updates"


def test_figure_8_shows_what_there_is_and_refuses_the_comparison(report):
    made = report("figure8")
    said = "DT has 800, DT, matched has 800, DT+Wiki has 1,200, DT+Synthetic has 900; in the paper each has 180,000"
    _, alt = made.figure("figure8")
    assert said in alt and said in made.text() and said in made.html()
    assert "180,000" not in made.artefact.title


@pytest.mark.slow
def test_a_table_refuses_the_comparison_and_the_scoreboard_does_not_make_it(report):
    made = report("table28")
    assert "CQL+100K more has 700, CQL+MDP has 2,600, CQL+IID has 2,600" in made.text()
    cells = finished(open_runs("own", "quick")).cells
    assert set(cells.loc[cells["table"] == 28, "arm"]) == set(made.artefact.arms) - {"CQL+100K more"}


@pytest.mark.parametrize(("name", "parts"), [("figure11", 5), ("figure17", 5)])
def test_on_parts_of_the_data_there_are_as_many_seeds_as_in_the_paper(name, parts):
    plan = make_plan(name, "paper", None)
    counts = Counter((cell.data_ratio == 1, cell.arm, cell.dataset) for cell in plan.cells)
    assert {n for (whole, *_), n in counts.items() if whole} == {20}
    assert {n for (whole, *_), n in counts.items() if not whole} == {parts}
    seeds = {cell.seed for cell in plan.cells if cell.data_ratio < 1}
    first = [cell.seed for cell in plan.cells if cell.arm.startswith(next(iter(plan.artefact.ratios)))]
    assert seeds == set(list(dict.fromkeys(first))[:parts])
    small = make_plan(name, "smoke", None)
    assert set(Counter((cell.arm, cell.dataset) for cell in small.cells).values()) == {2}


def test_an_arm_may_have_fewer_seeds_than_the_preset(spoil):
    spoil("table27", lambda file: file["arms"]["DT+Identity"].update(seeds=5))
    plan = make_plan("table27", "paper", None)
    counts = Counter(cell.arm for cell in plan.cells if cell.dataset == "ant-medium")
    assert counts["DT+Identity"] == 5 and counts["DT+Mapping"] == 20
    all_seeds = make_plan("table27", "smoke", None)
    assert {cell.arm for cell in all_seeds.cells} == set(plan.artefact.arms)
    assert "seeds" not in str(plan.cells[0].job.config)
