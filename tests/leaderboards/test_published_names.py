"""Names of the papers and what they are here: everything that is named exists, and nothing of the index lacks."""

import pytest

from avbench.data.splits import split_names
from avbench.leaderboards import published_names as names
from avbench.leaderboards.published_index import read_index
from avbench.leaderboards.published_lines import PROTOCOLS, Line
from avbench.leaderboards.published_tables import published_tables
from avbench.metrics.catalogue import METRICS
from avbench.metrics.protocols import get_protocol
from avbench.recipe_files import packaged
from avbench.records import SELECTIONS
from avbench.registry import method_names


def test_every_name_of_the_index_has_an_answer():
    index = read_index()
    assert set(names.METHODS) == {method["key"] for method in index.methods.values()}
    assert set(names.METRICS) == set(index.metrics)
    assert set(names.TEST_SETS) == set(index.test_sets)
    assert set(names.TRAIN_SETS) == set(index.train_sets)
    assert set(names.PROTOCOLS) == set(index.papers)
    assert set(names.SELECTIONS) == {*PROTOCOLS, ""}
    assert tuple(index.csv_columns) == Line._fields


def test_every_answer_exists():
    assert {name for name in names.METHODS.values() if name} <= set(method_names())
    assert {name for name in (*names.METRICS.values(), *names.SEVERAL_SOURCES.values()) if name} <= set(METRICS)
    splits = (names.TEST_SETS, names.OWN_TEST_SETS, names.TRAIN_SETS, names.SUPERVISED_TRAIN_SETS)
    assert {split for mapping in splits for split in mapping.values()} <= set(split_names())
    assert all(get_protocol(name) for name in (*names.PROTOCOLS.values(), names.MASK_PROTOCOL))
    assert {selection for selection in names.SELECTIONS.values() if selection} <= set(SELECTIONS)


def test_methods_without_an_implementation_are_told_apart():
    missing = {key for key, name in names.METHODS.items() if name is None}
    assert missing == {
        "ssl_tie", "sspl", "hardpos", "lcbm", "coarse_to_fine", "dmc", "dsol", "heartheflow", "noprior", "tvsl",
        "oassl",
    }  # fmt: skip
    assert names.METHODS["ez_vsl"] == "ezvsl"


@pytest.mark.parametrize(
    ("metric", "test_set", "found"),
    [
        ("cIoU", "vggss", "locacc"),
        ("LocAcc", "flickr_plus_silent", "locacc"),
        ("AUC", "vggss", "auc"),
        ("AUC", "vggsound_duet", "source_auc"),
        ("CIoU@0.3", "vggsound_duet", "source_success_30"),
        ("A2I_R@10", "vggss", "a2i_instance_r10"),
        ("I2A_R@1", "vggss", "i2a_instance_r1"),
        ("max-F1", "flickr", "max_f1"),
        ("F-score", "s4", "fscore"),
        ("params", "", None),
    ],
)
def test_metrics(metric, test_set, found):
    assert names.metric_of(metric, test_set) == found


def test_units_and_directions():
    units = {cell.metric: cell.unit for table in published_tables() for row in table.cells for cell in row}
    assert units == {metric: names.unit_of(metric) for metric in units}
    assert {metric for metric in units if not names.higher_is_better(metric)} == set(names.UNITS)


def test_the_alignment_paper_has_a_list_of_its_own():
    assert names.split_of("alignment2023", "vggss") == "vggss-4655"
    assert names.split_of("jsa2025_supp", "vggss") == "vggss"
    assert names.split_of("alignment2023", "flickr") == "flickr"
    assert names.split_of("alignment2023", "vggss_plus_silent") == "vggss-extended"
    assert names.split_of("jsa2025_supp", "") is None


@pytest.mark.parametrize(
    ("method", "train_set", "variant", "split", "recipe"),
    [
        ("jsa", "vggss_144k", "", "vggsound-144k", "jsa-vggsound-144k"),
        ("ezvsl", "flickr_10k", "weakly-supervised;w/o OGL", "flickr-10k", "ezvsl-flickr-10k"),
        (
            "slavc",
            "flickr_10k",
            "semi-supervised (5k annotated Flickr frames);w/ OGL",
            "flickr-10k-supervised",
            "slavc-flickr-10k-supervised",
        ),
        ("alignment", "vggss_heard_ssltie", "", "vggsound-ssltie-heard", None),
        ("jsa", "", "", None, None),
    ],
)
def test_trainings(method, train_set, variant, split, recipe):
    assert names.training_split_of(train_set, variant) == split
    assert names.recipe_of(method, train_set, variant) == recipe
    assert recipe is None or packaged()[recipe]["split"] == split


def test_protocols_and_selections():
    assert names.protocol_of("jsa2025_supp", "cIoU") == "jsa"
    assert names.protocol_of("jsa2025_supp", "mIoU") == "avsbench"
    assert names.protocol_of("alignment2023", "AP") == "alignment"
    assert names.protocol_of("slavc2022_supp", "LocAcc") == "slavc"
    assert names.protocol_of("oassl2025_supp", "CAP") == "multisource"
    assert names.protocol_of("oassl2025_supp", "infer_time") is None
    assert names.SELECTIONS == {"early_stop": "oracle", "latest": "last", "zero_shot": None, "": None}
