import math

import pytest

from synthlib.cql.algorithm import SEEDS
from synthlib.paper import paper_arms, paper_costs
from synthlib.runs.job import Job
from synthlib.study.checks import arms_shown
from synthlib.study.figures import find_artefact
from synthlib.study.params import ParameterError, artefact_names, load_artefact, pretraining_updates
from synthlib.study.plan import distinct_jobs, make_plan
from synthlib.study.presets import can_train, load_preset, presets
from synthlib.study.totals import paper_totals

TABLES = [name for name in artefact_names() if load_artefact(name).paper_table is not None]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_the_papers_arms_in_printed_order_and_both_baselines(name):
    artefact = load_artefact(name)
    number = artefact.paper_table
    printed = paper_costs(number)["arm"].unique() if artefact.metric == "updates" else paper_arms(number)
    assert [arm for arm in artefact.arms if arm in printed] == list(printed)
    assert {artefact.control, *artefact.controls.values()} <= set(artefact.arms) - set(printed)
    assert artefact.baseline in artefact.arms and artefact.control in artefact.arms


def test_every_score_table_of_the_paper_is_there_in_the_papers_order():
    assert [load_artefact(name).paper_table for name in TABLES] == [*range(1, 9), 11, 13, *range(18, 30)]


@pytest.mark.parametrize("name", artefact_names())
def test_figures_show_arms_that_their_description_has(name):
    artefact = load_artefact(name)
    arms = {artefact.ratios.get(arm, (arm, 1.0))[0] for arm in artefact.arms}
    for figure in artefact.figures.values():
        assert set(arms_shown(figure, arms)) <= arms
        assert set(figure.get("shift", [])) <= set(figure.get("arms", arms))


def test_a_twin_takes_over_what_it_does_not_say_itself():
    table, twin = load_artefact("table1"), load_artefact("table18")
    assert twin.arms == table.arms and twin.notebook == table.notebook
    assert (twin.metric, twin.paper_table, twin.figures) == ("best", 18, {})


def test_data_ratios_repeat_every_arm_and_the_whole_data_are_the_usual_arm():
    arms, few = load_artefact("figure10").arms, load_artefact("figure11").arms
    assert len(few) == 6 * len(arms)
    assert few["S10 @ 1.0"] == arms["S10"]
    assert few["S10 @ 0.2"] == arms["S10"] | {"data_ratio": 0.2}
    ratios = load_artefact("figure11").ratios
    assert list(ratios) == list(few) and ratios["S10 @ 0.2"] == ("S10", 0.2) and ratios["S10 @ 1.0"] == ("S10", 1.0)
    assert load_artefact("figure10").ratios == {}
    shares = {cell.arm: cell.data_ratio for cell in make_plan("figure11", "smoke", None).cells}
    assert shares == {arm: ratio for arm, (_, ratio) in ratios.items()}


def test_pretraining_updates_are_those_that_the_papers_curves_are_shifted_by():
    table1, table5, table7 = map(load_artefact, ("table1", "table5", "table7"))
    shifts = {"DT": 0, "DT, matched": 0, "DT+Wiki": 80_000, "DT+Wiki, matched": 0, "DT+Synthetic": 20_000}
    assert {arm: pretraining_updates(table1, arm) for arm in shifts} == shifts
    assert pretraining_updates(table5, "1k") == 1000
    assert pretraining_updates(table7, "CQL+IID") == 100_000


def test_a_longer_arm_is_longer_in_every_preset(random_hopper_data, outputs):
    lengths = {cell.arm: cell.job.updates for cell in make_plan("table28", "smoke", random_hopper_data).cells}
    assert lengths["CQL"] == 40 and lengths["CQL+100K more"] == 50
    assert {cell.job.updates for cell in make_plan("table28", "paper", None).cells} == {1_000_000, 1_100_000}


def test_a_short_pretraining_does_not_become_the_control_in_a_small_preset(spoil):
    spoil("table5", lambda fields: fields["arms"].update({"100": {"pretraining_updates": 100}}))
    plan = make_plan("table5", "smoke", None, ("DT, matched", "100", "1k"))
    assert {cell.arm: cell.job.requires[0].updates for cell in plan.cells} == {"DT, matched": 0, "1k": 1, "100": 1}


def test_a_preset_without_a_size_for_an_algorithm_says_which_have_one(spoil):
    spoil("presets", lambda fields: fields["quick"].pop("cql"))
    with pytest.raises(ParameterError, match="preset 'quick' has no size for 'cql'; these have: smoke, "):
        make_plan("table6", "quick", "replica")


@pytest.mark.parametrize("preset", [preset for preset in presets() if can_train(preset, "cql")])
def test_every_preset_is_valid_and_leaves_four_evaluations_for_the_final_score(preset):
    settings = load_preset(preset, "cql")
    assert settings["updates"] >= 4 * settings["evaluate_every"]
    assert settings["updates"] % settings["evaluate_every"] == 0
    assert set(presets()[preset]["expect"]) == {"time", "disk", "shows"}


def test_the_paper_preset_is_the_papers():
    settings = load_preset("paper", "cql")
    assert len(settings["datasets"]) == 12 and settings["seeds"] == len(SEEDS) == 20
    assert (settings["updates"], settings["evaluate_every"], settings["episodes"]) == (1_000_000, 5_000, 10)
    assert settings["pretraining_scale"] == 1 and settings["mdp_trajectories"] == 1000


def test_unknown_names_list_the_known_ones(own_params):
    with pytest.raises(
        ParameterError, match=r"no table or figure called 'table66'; there are: .*table6, table7, table8"
    ):
        find_artefact("table66")
    with pytest.raises(ParameterError, match="no preset called 'huge'; there are: smoke, quick"):
        load_preset("huge", "cql")


def test_a_misspelt_or_missing_setting_is_refused(spoil):
    spoil("presets", lambda fields: fields["quick"]["cql"].update(evaluate_evry=5))
    with pytest.raises(ParameterError, match=r"unknown \['evaluate_evry'\]; known: .*evaluate_every"):
        load_preset("quick", "cql")
    spoil("presets", lambda fields: fields["smoke"]["cql"].pop("episodes"))
    with pytest.raises(ParameterError, match=r"missing \['episodes'\]"):
        load_preset("smoke", "cql")
    spoil("presets", lambda fields: fields["overnight"]["cql"].update(seeds=21))
    with pytest.raises(ParameterError, match="seeds must be 1 to 20, not 21"):
        load_preset("overnight", "cql")
    spoil("presets", lambda fields: fields["overnight"]["cql"].update(seeds=[666, 7]))
    assert {cell.seed for cell in make_plan("cql_start", "overnight", None).cells} == {666, 7}
    spoil("presets", lambda fields: fields["overnight"]["cql"].update(seeds=[666, 43]))
    with pytest.raises(ParameterError, match=r"seeds must be different ones of 42, 666, .*, not \[666, 43\]"):
        load_preset("overnight", "cql")
    spoil("presets", lambda fields: fields["overnight"]["dt"]["seeds"].pop("walker2d-medium-expert"))
    with pytest.raises(ParameterError, match=r"one number, or one for each of .*walker2d-medium-expert"):
        load_preset("overnight", "dt")
    spoil("table6", lambda fields: fields.update(baseline="BC"))
    with pytest.raises(ParameterError, match="baseline 'BC' is not among its arms"):
        load_artefact("table6")


def test_a_misspelt_arm_setting_is_refused(spoil, random_hopper_data):
    spoil("table6", lambda fields: fields["arms"].update({"S=10": {"mdpp": {"states": 10}}}))
    with pytest.raises(ParameterError, match=r"arm 'S=10': unknown \['mdpp'\]"):
        load_artefact("table6")
    for wrong in (0, "all"):
        spoil("table8", lambda fields, wrong=wrong: fields["arms"]["1K"].update(seeds=wrong))
        with pytest.raises(ParameterError, match=r"arm '1K'.*seeds"):
            load_artefact("table8")
    spoil("table7", lambda fields: fields["arms"].update({"tau=1": {"mdp": {"temperature": 1}}}))
    with pytest.raises(ParameterError, match=r"arm 'tau=1': .*temperature"):
        make_plan("table7", "smoke", random_hopper_data)


def test_a_plan_has_a_cell_for_every_arm_data_set_and_seed(random_hopper_data, outputs):
    plan = make_plan("table6", "smoke", random_hopper_data, arms=["CQL, matched", *paper_arms(6)])
    assert len(plan.cells) == 7 * 1 * 2
    kinds = [job.kind for job in plan.jobs()]
    # Matched and S=100 are one pre-training (0 and all of its updates); the baseline has none.
    assert kinds.count("cql") == 14 and kinds.count("critic_pretraining") == 5


def test_data_sets_may_differ_in_seeds():
    plan = make_plan("table1", "overnight", None, arms=["DT", "DT, matched", "DT+Synthetic"])
    seeds = {
        dataset: {cell.seed for cell in plan.cells if cell.dataset == dataset} for dataset in plan.settings["seeds"]
    }
    assert {dataset: len(of_one) for dataset, of_one in seeds.items()} == plan.settings["seeds"]
    assert len(plan.cells) == 3 * (5 + 8)


def test_an_arm_may_have_fewer_seeds_than_the_preset():
    def seeds(preset):
        found = {}
        for cell in make_plan("cql_why", preset, None).cells:
            found.setdefault(cell.arm, []).append(cell.seed)
        return found

    assert seeds("evening")["S=100"] == [666, 1024, 2048, 4069, 0]
    assert seeds("evening")["S=100, permuted"] == seeds("evening")["S=100, norms only"] == [666, 1024, 2048]
    assert seeds("smoke")["S=100, permuted"] == seeds("smoke")["S=100"] == [42, 666]  # the preset has no third one


def test_tables_27_to_29_can_have_the_papers_own_seeds(spoil):
    """Faithfulness 6.5 and 8.13-8.15: five, and for CQL's Identity and Mapping other ones."""

    def seeds(table, preset="paper"):
        found, cells = {}, make_plan(table, preset, None).cells
        for cell in cells:
            if cell.dataset == cells[0].dataset:
                found.setdefault(cell.arm, []).append(cell.seed)
        return found

    before = {cell.job.key for cell in make_plan("table29", "paper", None).cells}
    assert {len(of_one) for of_one in seeds("table29").values()} == {20}
    others = {"seeds": [0, 1, 2, 3, 4]}
    spoil("table27", lambda fields: [fields["arms"][arm].update(seeds=5) for arm in ("DT+Identity", "DT+Mapping")])
    spoil("table28", lambda fields: fields.update(seeds=5))
    spoil("table29", lambda fields: fields.update(seeds=5))
    spoil("table29", lambda fields: [fields["arms"][arm].update(others) for arm in ("CQL+Identity", "CQL+Mapping")])
    assert seeds("table27")["DT+Identity"] == [42, 666, 1024, 6049, 6331] and len(seeds("table27")["DT"]) == 20
    assert set(map(tuple, seeds("table28").values())) == {(42, 666, 1024, 2048, 4069)}
    assert seeds("table29")["CQL"] == [42, 666, 1024, 2048, 4069]
    assert seeds("table29")["CQL+Identity"] == seeds("table29")["CQL+Mapping"] == [0, 1, 2, 3, 4]
    assert seeds("table29", "smoke")["CQL+Identity"] == [0, 1]  # no more than the preset has
    assert {cell.job.key for cell in make_plan("table29", "paper", None).cells} < before


def test_the_number_of_seeds_of_an_arm_is_no_part_of_a_runs_identity():
    why, start = (make_plan(name, "evening", "replica") for name in ("cql_why", "cql_start"))
    keys = [{(cell.arm, cell.seed): cell.job.key for cell in plan.cells} for plan in (why, start)]
    shared = keys[0].keys() & keys[1].keys()
    assert len(shared) == 15 and all(keys[0][run] == keys[1][run] for run in shared)
    first = make_plan("cql_pretraining_seeds", "evening", "replica")
    assert len({cell.job.key for cell in first.cells}) == len(first.cells) == 2 * (5 + 4)


def test_a_preset_without_text_leaves_its_arms_out_and_says_so():
    without, with_text = (make_plan("table1", preset, None).arms for preset in ("overnight", "quick"))
    assert {"DT", "DT, matched", "DT+Synthetic"} <= set(without)
    assert set(with_text) - set(without) == {"DT+Wiki", "DT+Wiki, matched"}
    with pytest.raises(ParameterError, match=r"preset 'overnight' leaves \['DT\+Wiki'\] out: it has text: none"):
        make_plan("table1", "overnight", None, arms=("DT", "DT+Wiki"))


def test_single_arms_can_be_asked_for_and_are_the_same_runs():
    some = make_plan("table1", "smoke", None, arms=("DT", "DT, matched"))
    assert {cell.arm for cell in some.cells} == {"DT", "DT, matched"}
    assert {cell.job.key for cell in some.cells} < {cell.job.key for cell in make_plan("table1", "smoke", None).cells}
    with pytest.raises(ParameterError, match=r"table1 has no arm \['BC'\]; there are: .*DT; DT, matched"):
        make_plan("table1", "smoke", None, arms=("BC",))


def test_tables_share_their_common_columns(random_hopper_data, outputs):
    keys = {
        name: {cell.arm: cell.job.key for cell in make_plan(name, "smoke", random_hopper_data).cells if cell.seed == 42}
        for name in ("table6", "table7", "table8")
    }
    for arm in ("CQL", "CQL, matched"):
        assert keys["table6"][arm] == keys["table7"][arm] == keys["table8"][arm]
    assert keys["table6"]["S=100"] == keys["table7"]["tau=1"] == keys["table8"]["100K"]
    assert len(set(keys["table6"].values())) == len(load_artefact("table6").arms)


def test_of_two_jobs_for_one_training_the_longer_stays_and_keeps_both_checkpoints():
    base = Job("critic_pretraining", {"seed": 42}, 0, keep=(0,))
    long = Job("critic_pretraining", {"seed": 42}, 100, keep=(10, 100))
    run = Job("cql", {"seed": 1}, 5, requires=(base,))
    merged = distinct_jobs([run, Job("cql", {"seed": 2}, 5, requires=(long,))])
    assert [job.kind for job in merged] == ["critic_pretraining", "cql", "cql"]
    assert merged[0].updates == 100 and merged[0].keep == (0, 10, 100)


@pytest.mark.slow
def test_the_papers_totals_shrink_by_sharing_and_know_plain_hours_from_the_bench(outputs):
    """With the smoke preset's sizes: adding up is the same for the paper's."""
    totals = paper_totals("smoke")
    assert list(totals.index) == ["each table by itself", "shared", "shared, fast versions"]
    by_itself, shared, fast = (totals.loc[name] for name in totals.index)
    for name in ("updates", "operations"):
        assert by_itself[name] > 1.9 * shared[name]
    assert shared[["trainings", "updates", "operations"]].equals(fast[["trainings", "updates", "operations"]])
    assert fast["core-hours"] > 0 and math.isnan(shared["core-hours"])
    bench = outputs / "bench" / "bench.csv"
    bench.parent.mkdir(parents=True)
    rows = "".join(f"{line},reference style,2.0\n" for line in ("cql-3", "critics", "dt", "gpt2"))
    bench.write_text("line,contestant,ratio\n" + rows)
    again = paper_totals("smoke")["core-hours"]
    assert again["shared"] == pytest.approx(2 * again["shared, fast versions"])
