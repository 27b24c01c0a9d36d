"""What the page is given, made up: 15 rows under three protocols and three selections, and a gallery."""

import base64
import gzip
import io
import json
import math
import random
from typing import Any

from PIL import Image, ImageDraw

PROTOCOLS = {
    "common": "The same settings for every method: bicubic, min-max, the top half of the pixels, no fusion.",
    "jsa": "JSA's test: bicubic, min-max, the pixels at 0.6 and above; free of the top-half ceiling.",
    "lvs": "LVS's test: OpenCV's linear, min-max, the pixels above the middle; constant maps are all in.",
}
SELECTIONS = ("last", "validation", "oracle")
METRICS = ("locacc", "auc", "mean_ciou")
TRAINED = {
    "alignment": ("Alignment", 0.46),
    "attention10k": ("Attention10k", 0.27),
    "ezvsl": ("EZ-VSL", 0.36),
    "fnac": ("FNAC", 0.40),
    "jsa": ("JSA", 0.47),
    "lvs": ("LVS", 0.34),
    "slavc": ("SLAVC", 0.39),
}
CONTROLS = {
    "disc": ("Centred disc", 0.34),
    "random": ("Random map", 0.11),
    "square": ("Square", 0.30),
    "whole": ("Whole image", 0.2),
}
FUSED = {"alignment": 0.07, "ezvsl": 0.05, "fnac": 0.05, "slavc": 0.02}
CLASSES = (
    "bell",
    "bird",
    "drum",
    "engine",
    "plucked string",
    "siren",
    "voice",
    "water",
    "wind",
    "saw",
    "horn",
    "clock",
)
N = 400


def example(*, boards: int = 0, gallery: bool = True) -> dict[str, Any]:
    """The page's data; ``boards`` adds that many of 25 rows to weigh it."""
    chance = random.Random(5)
    rows = _contestants()
    found = [_board(chance, rows, protocol, selection) for selection in SELECTIONS for protocol in PROTOCOLS]
    small = {
        **_board(chance, rows[4:8], "common", "last"),
        "id": "heard-common-last-submitted",
        "split": "demo-heard",
        "badge": "submitted",
    }
    small["rows"] = [{**row, "badge": "submitted"} for row in small["rows"]]
    many = [
        _board(chance, [*rows, *rows][:25], f"p{number % 12}", "last", split=f"s{number // 12}")
        for number in range(boards)
    ]
    return {
        "title": "Who hears where: a leaderboard of sound source localisation",
        "generated": {"avbench": "0.1.0", "entries": 24, "records": 198, "note": "Built from the accepted records."},
        "metrics": {
            "locacc": _metric("LocAcc", "Share of samples with cIoU of one half or more."),
            "auc": _metric("AUC", "Area under the success rate over 21 thresholds."),
            "mean_ciou": _metric("mean cIoU", "Mean over the samples."),
        },
        "protocols": {name: {"version": 1, "about": about} for name, about in PROTOCOLS.items()}
        | {f"p{number}": {"version": 1, "about": ""} for number in range(12 if boards else 0)},
        "splits": {
            "demo": _split("Demo world", "One source a frame, drawn from a seed, with silent distractors."),
            "demo-heard": _split("Demo world, heard classes", "Classes met in training."),
        }
        | {f"s{number}": _split(f"Split {number}", "") for number in range(math.ceil(boards / 12))},
        "methods": {
            name: _method(name, title, name in CONTROLS) for name, (title, _) in {**TRAINED, **CONTROLS}.items()
        },
        "boards": [*found, small, *many],
        "moves": [_move(found, selection, metric) for selection in SELECTIONS for metric in METRICS],
        "pages": {name: _page(chance, name) for name in {**TRAINED, **CONTROLS}},
        "gallery": _gallery(chance) if gallery else None,
        "files": {f"{name}-{selection}": _file(name, selection) for name in TRAINED for selection in SELECTIONS},
        "published": [
            {
                "id": "jsa-supp-1",
                "title": "Extended VGG-SS, as JSA's supplement has it",
                "paper": "JSA, supplementary material, Table 1",
                "html": "<table><thead><tr><th>Method</th><th>AP</th><th>max-F1</th></tr></thead><tbody><tr>"
                "<th>LVS</th><td>5.15</td><td>17.80</td></tr><tr><th>JSA</th><td><b>48.30</b></td><td><u>52.10</u></td></tr></tbody></table>",
            },
            {
                "id": "slavc-supp-1",
                "title": "Flickr",
                "paper": "SLAVC",
                "html": "<table><tbody><tr><td>1.0</td></tr></tbody></table>",
            },
        ],
    }


def _contestants() -> list[dict[str, Any]]:
    found = [_row(name, title, skill, "av") for name, (title, skill) in TRAINED.items()]
    found += [
        _row(name, f"{TRAINED[name][0]} + OGL", TRAINED[name][1] + more, "av+ogl") for name, more in FUSED.items()
    ]
    return found + [_row(name, title, skill, "av") for name, (title, skill) in CONTROLS.items()]


def _row(name: str, title: str, skill: float, variant: str) -> dict[str, Any]:
    control = name in CONTROLS
    family = "control" if control else "semi-supervised" if name == "attention10k" else "self-supervised"
    return {
        "title": title,
        "method": name,
        "variant": variant,
        "control": control,
        "family": family,
        "badge": "verified",
        "n": N,
        "parameters": None if control else 11_200_000 + 1_731_000 * len(name),
        "milliseconds": 0.4 if control else 3 + len(title) * 1.37,
        "device": "CPU, 2 cores",
        "skill": skill,
    }


def _board(
    chance: random.Random, contestants: list[dict[str, Any]], protocol: str, selection: str, split: str = "demo"
) -> dict[str, Any]:
    lift = {"common": 0.0, "jsa": 0.06, "lvs": -0.02}.get(protocol, 0.0)
    rows = []
    for contestant in contestants:
        row = {key: value for key, value in contestant.items() if key != "skill"}
        value = round(contestant["skill"] + lift + chance.uniform(-0.05, 0.05) + 0.02 * SELECTIONS.index(selection), 4)
        values = {
            "locacc": value,
            "auc": round(value * 0.9 + 0.04, 4),
            "mean_ciou": round(value * 0.7 + 0.12 + chance.uniform(-0.03, 0.03), 4),
        }
        control = row["control"]
        row |= {
            "selection": "none" if control else selection,
            "entry": f"{row['method']}-{selection}",
            "values": values,
            "intervals": {name: [round(v - 0.04, 4), round(v + 0.05, 4)] for name, v in values.items()},
            "ranks": dict.fromkeys(METRICS),
            "groups": dict.fromkeys(METRICS),
            "listens": None if control else _listens(chance, value),
        }
        rows.append(row)
    rows.sort(key=lambda row: -row["values"]["locacc"])
    for metric in METRICS:
        ranked = sorted((row for row in rows if not row["control"]), key=lambda row: -row["values"][metric])
        group, head = 1, ranked[0]["values"][metric]
        for place, row in enumerate(ranked, 1):
            if head - row["values"][metric] > 0.03:
                group, head = group + 1, row["values"][metric]
            row["ranks"][metric], row["groups"][metric] = place, group
    return {
        "id": f"{split}-{protocol}-{selection}-verified",
        "split": split,
        "protocol": protocol,
        "version": 1,
        "badge": "verified",
        "selection": selection,
        "n": N,
        "n_positive": N,
        "metrics": list(METRICS),
        "rows": rows,
        "notes": ["oracle: chosen on the test set: not comparable, ranked among themselves alone."]
        if selection == "oracle"
        else [],
    }


def _listens(chance: random.Random, value: float) -> dict[str, Any]:
    drop = round(chance.uniform(-0.01, 0.6) * value, 4)
    verdict = "yes" if drop > 0.06 else "unclear" if drop > 0.03 else "no"
    return {"verdict": verdict, "drop": drop, "low": round(drop - 0.03, 4), "high": round(drop + 0.03, 4), "p": 0.01}


def _move(boards: list[dict[str, Any]], selection: str, metric: str) -> dict[str, Any]:
    chosen = [board for board in boards if board["selection"] == selection]
    by_title = [{row["title"]: row for row in board["rows"]} for board in chosen]
    titles = sorted(by_title[0], key=lambda title: by_title[0][title]["control"])
    rows = [
        {
            "title": title,
            "control": by_title[0][title]["control"],
            "values": [rows[title]["values"][metric] for rows in by_title],
            "places": [rows[title]["ranks"][metric] for rows in by_title],
        }
        for title in titles
    ]
    return {
        "split": "demo",
        "selection": selection,
        "badge": "verified",
        "metric": metric,
        "protocols": [board["protocol"] for board in chosen],
        "rows": rows,
        "tau": [1.0, 0.778, None],
    }


def _page(chance: random.Random, name: str) -> dict[str, Any]:
    skill = {**TRAINED, **CONTROLS}[name][1]
    control = name in CONTROLS
    entries = [
        _entry(chance, name, selection, skill + 0.02 * n)
        for n, selection in enumerate(("none",) if control else SELECTIONS)
    ]
    epochs = list(range(1, 21))
    curves = [
        {
            "label": f"seed {seed}",
            "split": "demo-val",
            "purpose": "validation",
            "metric": "locacc",
            "epochs": epochs,
            "values": [round(skill * (1 - math.exp(-epoch / 5)) + chance.uniform(-0.02, 0.02), 4) for epoch in epochs],
        }
        for seed in (0, 1)
    ]
    return {"entries": entries, "curves": [] if control else curves, "losses": []}


def _entry(chance: random.Random, name: str, selection: str, skill: float) -> dict[str, Any]:
    thresholds = [round(0.05 * k, 2) for k in range(21)]
    rates = [round(1 / (1 + math.exp(9 * (at - skill - 0.12))), 4) for at in thresholds]
    recall = [round(k / 40, 3) for k in range(41)]
    return {
        "entry": f"{name}-{selection}",
        "split": "demo",
        "selection": selection,
        "badge": "verified",
        "success": {"thresholds": thresholds, "rates": rates},
        "classes": [_spread(chance, skill, label, 20 + 3 * n) for n, label in enumerate(CLASSES)],
        "sizes": [
            _spread(chance, skill, size, n)
            for size, n in (("small", 90), ("medium", 170), ("large", 110), ("huge", 30))
        ],
        "detection": {"recall": recall, "precision": [round(1 - (1 - skill) * r**0.6, 4) for r in recall]},
        "reliability": [
            [round(0.05 + 0.1 * k, 2), round(min(1, skill * (0.3 + 0.15 * k)), 4), 10 + 12 * (5 - abs(k - 5))]
            for k in range(10)
        ],
        "listening": None
        if name in CONTROLS
        else {
            "rates": {"true": skill, "silent": skill * 0.7, "noise": skill * 0.65, "swapped": skill * 0.8},
            "drops": {
                "silent": {"value": skill * 0.3, "low": 0.05, "high": 0.2},
                "noise": skill * 0.35,
                "swapped": skill * 0.2,
            },
        },
    }


def _spread(chance: random.Random, skill: float, label: str, n: int) -> list[Any]:
    value = round(min(0.9, max(0.05, skill + chance.uniform(-0.2, 0.2))), 4)
    return [label, n, value, value - 0.05, value + 0.05]


def _gallery(chance: random.Random) -> dict[str, Any]:
    maps = [(title, name) for name, (title, _) in {**TRAINED, **CONTROLS}.items()]
    samples = [_sample(chance, number, maps) for number in range(12)]
    return {"split": "demo", "about": "twelve samples, evenly spread over the list.", "samples": samples}


def _sample(chance: random.Random, number: int, maps: list[tuple[str, str]]) -> dict[str, Any]:
    left, top, side = chance.uniform(0.05, 0.4), chance.uniform(0.05, 0.4), chance.uniform(0.25, 0.55)
    picture = Image.new("RGB", (112, 112))
    draw = ImageDraw.Draw(picture)
    for row in range(112):
        draw.line((0, row, 112, row), fill=(60 + row, 90 + number * 8, 150 - row // 2))
    box = tuple(112 * edge for edge in (left, top, left + side, top + side))
    draw.ellipse(box, fill=(200 - number * 9, 120 + number * 8, 70))
    return {
        "id": f"demo-{number:05d}",
        "label": CLASSES[number],
        "size": ("small", "medium", "large")[number % 3],
        "image": _uri(picture, "JPEG"),
        "boxes": [[left, top, left + side, top + side]] * (1 + (number == 3)),
        "maps": [_map(title, name, _heat(chance, left, top), chance.random()) for title, name in maps],
    }


def _map(title: str, name: str, uri: str, ciou: float) -> dict[str, Any]:
    return {"title": title, "method": name, "uri": uri, "ciou": round(ciou, 4)}


def _heat(chance: random.Random, left: float, top: float) -> str:
    heat = Image.new("RGBA", (14, 14))
    x, y = 14 * (left + chance.uniform(0, 0.4)), 14 * (top + chance.uniform(0, 0.4))
    for column in range(14):
        for row in range(14):
            warm = math.exp(-((column - x) ** 2 + (row - y) ** 2) / 14)
            heat.putpixel((column, row), (int(250 * warm), int(220 * warm**2), int(120 * (1 - warm)), 150))
    return _uri(heat, "PNG")


def _uri(picture: Image.Image, form: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _file(name: str, selection: str) -> dict[str, str]:
    text = json.dumps({"method": name, "selection": selection, "note": "é ✓"}, ensure_ascii=False)
    return {
        "name": f"{name}-{selection}-0123456789ab.json",
        "gzip": base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    }


def _metric(display: str, about: str) -> dict[str, Any]:
    return {"display": display, "decimals": 2, "direction": "higher", "about": about}


def _split(title: str, about: str) -> dict[str, Any]:
    return {"title": title, "n": N, "sha256": "3f9ac41be07d55aa", "about": about}


def _method(name: str, title: str, control: bool) -> dict[str, Any]:
    return {
        "summary": f"{title} compares every cell of the image with the sound and takes the best.",
        "control": control,
        "paper": f"{title}, a conference, 2022",
        "official": f"https://example.org/{name}",
        "labels": "none",
        "pretrained": "ResNet-18 on ImageNet",
        "family": "control" if control else "self-supervised",
        "needs": ["image"] if control else ["image", "audio"],
        "parameters": None if control else {"training": 22_400_000, "inference": 22_300_000},
        "card": [["Image encoder", "ResNet-18"], ["Map", "7 x 7 cosines"]],
    }
