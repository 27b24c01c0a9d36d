"""What the published tables' names are called here: methods, metrics, test and training sets, protocols, selections.

None stands for what this suite does not have. That every other name exists is tested.
"""

from __future__ import annotations

from avbench.metrics.catalogue import METRICS as CATALOGUE
from avbench.records import Selection

METHODS: dict[str, str | None] = {
    "jsa": "jsa",
    "alignment": "alignment",
    "slavc": "slavc",
    "ez_vsl": "ezvsl",
    "fnac": "fnac",
    "lvs": "lvs",
    "ogl": "ogl",
    "attention10k": "attention10k",
    "ssl_tie": None,
    "sspl": None,
    "hardpos": None,
    "lcbm": None,
    "coarse_to_fine": None,
    "dmc": None,
    "dsol": None,
    "heartheflow": None,
    "noprior": None,
    "tvsl": None,
    "oassl": None,
}
"""Method ids by the index's keys."""

METRICS: dict[str, str | None] = {
    "cIoU": "locacc",
    "LocAcc": "locacc",
    "AUC": "auc",
    "AP": "ap",
    "max-F1": "max_f1",
    "mIoU": "miou",
    "F-score": "fscore",
    "CAP": "cap",
    "CIoU@0.3": "source_success_30",
    **{f"{way}_R@{k}": f"{way.lower()}_instance_r{k}" for way in ("A2I", "I2A") for k in (1, 5, 10)},
    "params": None,
    "mllm_caption_time": None,
    "train_time": None,
    "train_memory": None,
    "infer_time": None,
    "infer_memory": None,
}
"""Metric ids by the index's keys; what is counted or timed has none."""

UNITS = {
    "params": "M",
    "mllm_caption_time": "s/image",
    "train_time": "s/iter",
    "train_memory": "GB",
    "infer_time": "s/image",
    "infer_memory": "GB",
}
"""Units of what is no share; of all of these less is better."""

SEVERAL_SOURCES = {"AUC": "source_auc"}
"""Metrics whose meaning is another where every source is scored apart."""

TEST_SETS = {
    "vggss": "vggss",
    "flickr": "flickr",
    "vggss_heard": "vggss-heard",
    "vggss_unheard": "vggss-unheard",
    "vggss_heard_ssltie": "vggss-ssltie-heard",
    "vggss_unheard_ssltie": "vggss-ssltie-unheard",
    "flickr_plus_silent": "flickr-extended",
    "vggss_plus_silent": "vggss-extended",
    "s4": "avsbench-s4",
    "ms3": "avsbench-ms3",
    "vggsound_duet": "vggsound-duet",
}
"""Splits by the index's keys."""

OWN_TEST_SETS = {("alignment2023", "vggss"): "vggss-4655"}
"""Splits where a paper's list is another than the set's; of rows that it copied from elsewhere the list may differ."""

TRAIN_SETS = {
    "vggss_144k": "vggsound-144k",
    "flickr_144k": "flickr-144k",
    "flickr_10k": "flickr-10k",
    "vggss_heard": "vggsound-heard",
    "vggss_heard_ssltie": "vggsound-ssltie-heard",
}
"""Splits by the index's keys; a recipe for one is called after the method and the split, as in ``jsa-flickr-10k``."""

SEMI_SUPERVISED = "semi-supervised"
"""How the variant of a row begins whose training had boxes."""
SUPERVISED_TRAIN_SETS = {"flickr_10k": "flickr-10k-supervised"}
"""Splits of such rows."""

PROTOCOLS = {
    "jsa2025_supp": "jsa",
    "alignment2023": "alignment",
    "slavc2022_supp": "slavc",
    "oassl2025_supp": "multisource",
}
"""Protocols by paper: that of its authors' evaluation code."""

MASK_PROTOCOL = "avsbench"
MASK_METRICS = ("mIoU", "F-score")
"""Metrics against masks, which have a protocol of their own in every paper."""

SELECTIONS: dict[str, Selection | None] = {"early_stop": "oracle", "latest": "last", "zero_shot": None, "": None}
"""How a checkpoint was chosen, by the index's protocols: their early stop looks at the test set."""


def unit_of(metric: str) -> str:
    """The unit that values of a metric of the index are printed in."""
    return UNITS.get(metric, "percent")


def higher_is_better(metric: str) -> bool:
    """Which way is better, by the catalogue; less of what is counted or timed."""
    own = METRICS[metric]
    return own is not None and CATALOGUE[own].direction == "higher"


def metric_of(metric: str, test_set: str) -> str | None:
    """Id of a metric of the index on a test set of it; None for what is counted or timed."""
    if TEST_SETS.get(test_set) == "vggsound-duet" and metric in SEVERAL_SOURCES:
        return SEVERAL_SOURCES[metric]
    return METRICS[metric]


def split_of(paper: str, test_set: str) -> str | None:
    """The split that a paper's test set is; None for none."""
    return OWN_TEST_SETS.get((paper, test_set)) or TEST_SETS.get(test_set)


def training_split_of(train_set: str, variant: str) -> str | None:
    """The split that a row was trained on; None where the paper does not say."""
    if variant.startswith(SEMI_SUPERVISED) and train_set in SUPERVISED_TRAIN_SETS:
        return SUPERVISED_TRAIN_SETS[train_set]
    return TRAIN_SETS.get(train_set)


def recipe_of(method: str, train_set: str, variant: str) -> str | None:
    """The recipe of the package that trains a method of ours (its id) so; None where there is none."""
    from avbench.recipe_files import packaged

    name = f"{method}-{training_split_of(train_set, variant)}"
    return name if name in packaged() else None


def protocol_of(paper: str, metric: str) -> str | None:
    """The protocol that a paper's values of a metric are measured under; None for what is counted or timed."""
    if METRICS[metric] is None:
        return None
    return MASK_PROTOCOL if metric in MASK_METRICS else PROTOCOLS[paper]
