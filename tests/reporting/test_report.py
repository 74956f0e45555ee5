"""The report: which queries and images it shows, that its page is one escaped file, and figures with stable bytes."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.contracts.collections import IndexFacts
from pipeline.contracts.metrics import Metrics, Scores
from pipeline.contracts.rankings import ANSWERS, ANSWERS_SCHEMA, COUNTS_SCHEMA, RANKING_SCHEMA, Provenance
from pipeline.imaging.images import encode
from pipeline.reporting.activation_studies import ActivationPage, activation_page, training_curves
from pipeline.reporting.figures import precision_recall, svg
from pipeline.reporting.mask_studies import MaskPage, mask_page
from pipeline.reporting.online_times import online_times
from pipeline.reporting.page import BenchmarkPage, render
from pipeline.reporting.patch_studies import patch_similarity
from pipeline.reporting.query_tables import QueryRow
from pipeline.reporting.region_studies import RegionPage, region_page
from pipeline.reporting.retrievals import Retrievals, choose, first_hits
from pipeline.reporting.sweeps import SweepPage, sweep_pages
from pipeline.search.params import SearchParameters
from pipeline.stage.errors import ShardError
from pipeline.stage.tables import write_json, write_table
from pipeline.stage.text_tables import read_rows

RANKS = {"q1": "abcd", "q2": "dcba", "q3": "cabd"}
LABELS = {("q1", "a"): "good", ("q1", "b"): "junk", ("q2", "a"): "ok", ("q3", "b"): "good"}
PER_QUERY = [{"query_id": query, "setting": "database", "ap": ap} for query, ap in (("q1", "1.0"), ("q2", "0.2"), ("q3", "0.4"))]


def chosen(folder: Path, best: int = 1, worst: int = 1) -> Retrievals:
    box = {"a": (0.1, 0.2, 0.5, 0.5)}
    rows = [
        (query, rank, image, 1.0 - 0.1 * rank, *box.get(image, (None,) * 4)) for query, images in RANKS.items() for rank, image in enumerate(images)
    ]
    write_table(folder / "ranking-database.parquet", "ranking", RANKING_SCHEMA, dict(zip(RANKING_SCHEMA.names, zip(*rows, strict=True), strict=True)))
    write_irrelevant(folder, [row for row in rows if (row[0], row[2]) not in LABELS])
    counts = [(query, image, kind, 0.5, RANKS[query].index(image), 1) for (query, image), kind in LABELS.items()]
    write_table(folder / "counts-database.parquet", "counts", COUNTS_SCHEMA, dict(zip(COUNTS_SCHEMA.names, zip(*counts, strict=True), strict=True)))
    answers = [("q1", "a", "<piece>", 0.9, 0.8, True, 0.01, 0.75), ("q2", "b", "other", 0.2, None, False, 0.3, None)]
    write_answers(folder, answers)
    return choose(folder, PER_QUERY, "database", best, worst, results=3)


def write_irrelevant(folder: Path, rows: Sequence[tuple[object, ...]]) -> None:
    columns = zip(*rows, strict=True) if rows else [()] * len(RANKING_SCHEMA.names)
    write_table(folder / "irrelevant-database.parquet", "ranking", RANKING_SCHEMA, dict(zip(RANKING_SCHEMA.names, columns, strict=True)))


def write_answers(folder: Path, answers: Sequence[tuple[object, ...]]) -> None:
    columns = zip(*answers, strict=True) if answers else [()] * len(ANSWERS_SCHEMA.names)
    write_table(folder / ANSWERS, "answers", ANSWERS_SCHEMA, dict(zip(ANSWERS_SCHEMA.names, columns, strict=True)))


def test_best_and_worst_queries_with_their_verdicts(tmp_path: Path) -> None:
    shown = chosen(tmp_path)
    assert [query.query_id for query in shown.best] == ["q1"]
    assert [query.query_id for query in shown.worst] == ["q2"]
    assert shown.best[0].answer == "<piece>; known; sure of it 75%"
    assert shown.worst[0].answer == "other; perhaps unknown"
    assert [(hit.image_id, hit.verdict) for hit in shown.best[0].hits] == [("a", "relevant"), ("b", "junk"), ("c", "irrelevant")]


def test_labels_count_as_the_setting_says(tmp_path: Path) -> None:
    labels = {"a": "easy", "b": "hard", "c": "junk"}
    ranking = [("q", rank, image, 1 - rank / 20, *(None,) * 4) for rank, image in enumerate("abcd")]
    counts = [("q", image, relevance, 1.0, rank, 1) for rank, (image, relevance) in enumerate(labels.items())]
    for name, kind, schema, table in (
        ("ranking-database", "ranking", RANKING_SCHEMA, ranking),
        ("irrelevant-database", "ranking", RANKING_SCHEMA, ranking[3:]),
        ("counts-database", "counts", COUNTS_SCHEMA, counts),
    ):
        write_table(tmp_path / f"{name}.parquet", kind, schema, dict(zip(schema.names, zip(*table, strict=True), strict=True)))
    write_answers(tmp_path, [])
    for setting, expected in (("easy", ["relevant", "junk"]), ("medium", ["relevant", "relevant"]), ("hard", ["junk", "relevant"])):
        name = f"database/{setting}"
        shown = choose(tmp_path, [{"query_id": "q", "setting": name, "ap": "0.5"}], name, 1, 1, 4)
        assert [hit.verdict for hit in shown.best[0].hits] == [*expected, "junk", "irrelevant"]
        assert [hit.verdict for hit in first_hits(tmp_path, name, 2)["q"]] == expected
        assert len(shown.relevant_last[0].hits) == expected.count("relevant")
        assert shown.setting == name


def test_relevant_images_ranked_last_and_irrelevant_first(tmp_path: Path) -> None:
    shown = chosen(tmp_path, worst=3)
    last = [(query.query_id, [(hit.image_id, hit.rank) for hit in query.hits]) for query in shown.relevant_last]
    assert last == [("q2", [("a", 3)]), ("q3", [("b", 2)]), ("q1", [("a", 0)])]
    first = [(query.query_id, [hit.image_id for hit in query.hits]) for query in shown.irrelevant_first]
    assert first == [("q2", ["d", "c", "b"]), ("q3", ["c", "a", "d"]), ("q1", ["c", "d"])]
    assert {"q1", "q2", "a", "b", "c", "d"} <= shown.image_ids
    assert len(chosen(tmp_path, worst=1).relevant_last) == 1


def test_four_relevant_images_per_query_rank_last_and_queries_without_irrelevant_ones_are_counted(tmp_path: Path) -> None:
    images = [f"r{index}" for index in range(6)] + [f"w{index}" for index in range(6)]
    order = images[6:9] + images[:6] + images[9:]
    ranking = [("q", rank, image, 1 - rank / 20, *(None,) * 4) for rank, image in enumerate(order)]
    write_table(
        tmp_path / "ranking-database.parquet", "ranking", RANKING_SCHEMA, dict(zip(RANKING_SCHEMA.names, zip(*ranking, strict=True), strict=True))
    )
    write_irrelevant(tmp_path, [])
    counts = [("q", image, "good", 0.5, order.index(image), 1) for image in images[:6]]
    write_table(tmp_path / "counts-database.parquet", "counts", COUNTS_SCHEMA, dict(zip(COUNTS_SCHEMA.names, zip(*counts, strict=True), strict=True)))
    write_answers(tmp_path, [])
    shown = choose(tmp_path, [{"query_id": "q", "setting": "database", "ap": "0.5"}], "database", 1, 1, results=3)
    assert [hit.image_id for hit in shown.relevant_last[0].hits] == ["r5", "r4", "r3", "r2"]
    assert shown.irrelevant_first == []
    assert shown.only_relevant == 1


def test_no_query_is_best_and_worst_at_once(tmp_path: Path) -> None:
    shown = chosen(tmp_path, best=2, worst=5)
    assert [query.query_id for query in shown.worst] == ["q2"]


def scores(**changes: float) -> Scores:
    numbers = {"map": 0.5, "map_trapezoid": 0.5, "map_plain": 0.6, "map_at_chance": 0.1, "precision_at_1": 1.0, "scored_queries": 3}
    return Scores.model_validate(numbers | changes)


def provenance() -> Provenance:
    """Of codes, re-ranked, after database augmentation."""
    features = {
        "network": {"name": "net"},
        "extract": {},
        "images": {"images": 4, "unreadable": 0, "source": "folder", "resize": {}},
    }
    described = {
        "database": 4,
        "queries": 3,
        "held_out": 0,
        "kept_back": 0,
        "patches": {"database": None, "queries": None},
        "zero_descriptors": 0,
        "dimensions": 2,
    }
    overlap = {"training_set": "gldv2", "title": "landmarks", "source": "paris6k", "reason": "it shows the queries", "told_by": "a paper"}
    described |= {
        "method": "<mac>",
        "parameters": {},
        "learned_on": None,
        "network_trained_on": [],
        "network_overlaps": [overlap],
        "duplicates": 0,
        "features": features,
    }
    described |= {"held_out_set": {"dataset": "other", "role": "held_out", "images": 5}, "storage": "float16", "rounding": 1e-4}
    search = SearchParameters.model_validate(
        {"augmentation": {"neighbours": 3}, "rerank": {"method": "localization", "localization": {"shortlist": 9}}}
    )
    return Provenance.model_validate(
        {
            "descriptors": described,
            "distractors": {"distractors": 0, "dataset": "none", "role": "distractor", "storage": "float16", "rounding": 0.0},
            "codes": {"method": "itq", "parameters": {}, "learned_on": None},
            "search": search.in_use(),
            "shortlist": 7,
            "refinements": search.words,
            "evaluate": {"rule": "trapezoid"},
        }
    )


def test_the_page_escapes_names_and_shows_warnings(tmp_path: Path) -> None:
    metrics = Metrics(database_images=4, dimensions=2, held_out_duplicates=2, bits=64, database=scores(at_chance_level=1))
    kept = MaskPage({"images": 3}, "<svg></svg>", "<svg></svg>", [("a", {"max": "data:image/jpeg;base64,BB"})])
    regions = RegionPage(4, "<svg></svg>", [("a", {"a": "data:image/jpeg;base64,CC"})])
    activations = ActivationPage("net", [("a", {"<piece>": "data:image/jpeg;base64,DD"})])
    sweep = SweepPage("grid", "A <grid>", "abc", ["mask", "mAP"], [{"mask": "MAX", "mAP": "0.5"}], ["<svg></svg>"])
    bench = BenchmarkPage("b&b", metrics, provenance(), "<svg></svg>", "<svg></svg>", chosen(tmp_path), kept, ["<svg></svg>"], regions, activations)
    loss = {"recall_1": 1.0, "recall_10": 0.95, "recall_100": 0.9, "map": 0.4, "exact_map": 0.41}
    bench = replace(bench, index=IndexFacts(kind="hnsw", candidates=200, loss=loss))
    matching = [{"dimensions": "256", "work": "<patches>", "seconds": "0.7"}]
    page = render(
        [bench], [sweep], ["<svg></svg>"], matching, {"step": "<svg id='curve'></svg>"}, [{"system": "<net>"}], {"a": "data:image/jpeg;base64,AA"}, 50
    )
    assert "&lt;mac&gt;" in page
    assert "&lt;piece&gt;" in page
    assert "&lt;net&gt;" in page
    assert "<svg id='curve'></svg>" in page
    assert "b&amp;b" in page
    assert "<mac>" not in page
    assert "database: the score is at chance level." in page
    assert "2 images of the benchmark are also in the held-out set." in page
    assert "The network is trained on gldv2 (landmarks), which is not apart from paris6k: it shows the queries (a paper)" in page
    assert 'src="data:image/jpeg;base64,AA"' in page
    assert "learned on nothing" in page
    assert "64 bits by itq" in page
    assert "through a hnsw index: finds 1.0000 of the first 1, 0.9500 of the first 10, 0.9000 of the first 100 exact results" in page
    assert "mAP of the first 100 is 0.4000 instead of 0.4100" in page
    assert 'src="data:image/jpeg;base64,BB"' in page
    assert "A &lt;grid&gt;" in page
    assert "<td>MAX</td><td>0.5</td>" in page
    assert "Among the shortlist of 7 images" in page
    assert "augmented by 3 neighbours" in page
    assert "first 9 re-ranked by localization" in page
    assert 'style="left:10.0%;top:20.0%;width:40.0%;height:30.0%"' in page
    assert 'src="data:image/jpeg;base64,CC"' in page
    assert "<td>256</td><td>&lt;patches&gt;</td><td>0.7</td>" in page


def test_studies_that_were_not_asked_for_are_not_shown(tmp_path: Path) -> None:
    bench = BenchmarkPage("b", Metrics(database_images=4, database=scores()), provenance(), "<svg></svg>", "<svg></svg>", chosen(tmp_path))
    page = render([bench], [], [], [], {}, [], {}, 50)
    assert "Best queries" in page
    for heading in ("Masks of local features", "Patches seen at another scale", "Regions and boxes", "Class activations", "Which instance"):
        assert heading not in page
    for heading in ("Studies", "Online time per image", "Matching of patches", "Time and memory of instance search", "Every query"):
        assert f">{heading}" not in page


def test_every_query_and_every_instance_has_a_row(tmp_path: Path) -> None:
    queries = [QueryRow("<q>/1", "tower", 0.25, 8, "bridge"), QueryRow("r", "tower", 0.5, None, "tower")]
    bench = BenchmarkPage(
        "b", Metrics(database_images=4, database=scores()), provenance(), "<svg></svg>", "<svg></svg>", chosen(tmp_path), queries=queries
    )
    page = render([bench], [], [], [], {}, [], {}, 50)
    link = '<a href="#query=b/%3Cq%3E%2F1">&lt;q&gt;/1</a>'
    assert f"<tr><td>{link}</td><td>tower</td><td>0.2500</td><td>8</td><td>bridge</td><td>wrong</td></tr>" in page
    assert '<tr><td><a href="#query=b/r">r</a></td><td>tower</td><td>0.5000</td><td></td><td>tower</td><td>right</td></tr>' in page
    assert '<tr><td><button data-find="tower" data-table="b-table">tower</button></td><td>2</td><td>0.3750</td><td>1</td></tr>' in page


def test_a_sweep_tells_which_benchmarks_it_is_of() -> None:
    rows = [{"benchmark": "one", "mAP": "0.5"}, {"benchmark": "two", "mAP": ""}, {"mAP": ""}]
    assert SweepPage("grid", "A grid", "abc", ["benchmark", "mAP"], rows, []).benchmarks == {"one", "two"}


def test_settings_of_revisited_metrics() -> None:
    easy = scores()
    metrics = Metrics(database_images=5, distractors=7, database={"easy": easy, "hard": easy}, with_distractors={"easy": easy})
    assert [(setting.name, setting.size) for setting in metrics.settings] == [
        ("database/easy", 5),
        ("database/hard", 5),
        ("with_distractors/easy", 12),
    ]


def test_metrics_are_read_as_they_were_written_rounded_to_four_digits(tmp_path: Path) -> None:
    Metrics(database=scores(map=1 / 3, recall_at_10=2 / 3)).save(tmp_path / "m.json")
    found = Metrics.load(tmp_path / "m.json").settings[0].scores
    assert (found.map, found.numbers["recall_at_10"]) == (0.3333, 0.6667)
    (tmp_path / "m.json").write_text('{"database": {"map": "much"}}', encoding="utf-8")
    with pytest.raises(ShardError, match=r"m\.json: no metrics \(database"):
        Metrics.load(tmp_path / "m.json")


def test_figures_have_stable_bytes(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("setting,recall,precision\ndatabase,0.0,1.0\ndatabase,1.0,0.5\n", encoding="utf-8")
    assert precision_recall(tmp_path / "c.csv") == precision_recall(tmp_path / "c.csv")
    assert precision_recall(tmp_path / "c.csv").startswith("<svg")


def test_a_sweep_with_a_figure_is_drawn_per_benchmark(tmp_path: Path) -> None:
    rows = [
        {"mask": mask, "power": power, "benchmark": bench, "database": "database", "mAP": value, "published": "0.6; 0.7"}
        for bench in ("one", "two")
        for mask, power, value in (("MAX", "0.3", "0.5"), ("MAX", "0.5", "0.55"), ("none", "0.3", "0.4"), ("none", "0.5", ""))
    ]
    common = {"axes": ["mask", "power"], "commit": "abc", "headings": list(rows[0]), "rows": rows}
    write_json(tmp_path / "grid.json", {"title": "Grid", "figure": {"x": "power", "lines": "mask"}} | common)
    write_json(tmp_path / "plain.json", {"title": "Plain", "figure": None} | common)
    drawn, plain = sweep_pages(tmp_path)
    assert [len(drawn.figures), len(plain.figures)] == [2, 0]
    assert "MAX" in drawn.figures[0]
    assert "two · database" in drawn.figures[1]
    assert "published" in drawn.figures[0]
    assert plain.headings[0] == "mask"


def test_masks_are_drawn_as_bars_histograms_and_tinted_pictures(tmp_path: Path) -> None:
    masks = {
        "max": {"kept": 0.3, "near_orthogonal": 0.9, "histogram": [0.5, 0.5]},
        "none": {"kept": 1.0, "near_orthogonal": 0.6, "histogram": [0.2, 0.8]},
    }
    pictures = [{"image_id": "a", "masks": {"max": ["#.", ".."], "none": ["##", "##"]}}, {"image_id": "gone", "masks": {"max": ["#"], "none": ["#"]}}]
    write_json(tmp_path / "b.json", {"images": 2, "near_orthogonal_limit": 0.15, "masks": masks, "pictures": pictures})
    page = mask_page(tmp_path / "b.json", {"a": encode(Image.new("RGB", (40, 40), (200, 0, 0)))}, 20)
    assert "features kept" in page.bars
    assert [image_id for image_id, _ in page.pictures] == ["a"]
    tinted = Image.open(io.BytesIO(base64.b64decode(page.pictures[0][1]["max"].partition(",")[2])))
    inside, outside = tinted.getpixel((3, 3)), tinted.getpixel((16, 16))
    assert isinstance(inside, tuple)
    assert isinstance(outside, tuple)
    assert inside[2] > inside[1]
    assert outside[1] > 120


def test_online_time_is_a_stack_of_steps(tmp_path: Path) -> None:
    rows = ("dimensions,system,step,milliseconds", "512,MAX,mask,1.5", "512,MAX,embed,2", "512,R-MAC,R-MAC,3", "4096,MAX,mask,1")
    (tmp_path / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    figure, longer = online_times(tmp_path / "t.csv")
    assert "4096 dimensions" in longer
    assert all(word in figure for word in ("MAX", "R-MAC", "mask", "embed"))


def test_further_axes_of_a_sweep_have_figures_of_their_own(tmp_path: Path) -> None:
    common = {"benchmark": "b", "database": "database", "published": ""}
    rows = [
        {"hash": hash_name, "length": length, "bits": bits, "mAP": f"0.{int(bits) % 9 + 1}"} | common
        for hash_name in ("ITQ", "KMH")
        for length in ("512", "1024", "2048")
        for bits in ("64", "128")
    ]
    content = {"title": "T", "axes": ["hash", "length", "bits"], "commit": "c", "figure": {"x": "bits", "lines": "hash"}, "headings": list(rows[0])}
    write_json(tmp_path / "t.json", content | {"rows": rows})
    (page,) = sweep_pages(tmp_path)
    assert len(page.figures) == 3
    assert "512 · b · database" in page.figures[0]


def test_a_figure_has_a_name_and_no_id_twice() -> None:
    drawn = svg(lambda axes: axes.plot([0, 1], [1, 0]), (3, 2), "A & B")
    assert drawn.startswith('<svg role="img" aria-label="A &amp; B"')
    names = re.findall(r' id="([^"]+)"', drawn + svg(lambda axes: axes.plot([0, 1], [0, 1]), (3, 2), "C"))
    assert len(names) == len(set(names))


def test_similarity_of_views_is_two_figures_with_a_line_per_way(tmp_path: Path) -> None:
    own = {"scale": [0.5, 1.0], "shift": [1.0, 0.7], "scale_error": [0.1, 0.0], "shift_error": [0.0, 0.1], "unrelated": 0.2}
    content = {"squares": 3, "scales": [0.5, 1.0], "shifts": [0.0, 0.5], "variants": {"neither": own, "jittering": own}}
    write_json(tmp_path / "gallery.json", content)
    figures = patch_similarity(tmp_path / "gallery.json")
    assert len(figures) == 2
    assert all("neither" in figure and "jittering" in figure for figure in figures)
    assert "Similarity of changed views over shift, gallery" in figures[1]


def test_regions_are_curves_and_four_pictures_a_query(tmp_path: Path) -> None:
    encoded = base64.b64encode(encode(Image.new("RGB", (40, 30)), "jpeg", 90)).decode("ascii")
    picture = {
        "image_id": "q",
        "jpeg": encoded,
        "box": [0.25, 0.0, 1.0, 0.5],
        "norms": [[0.0, 1.0]],
        "clusters": [[0, 1]],
        "spatial_clusters": [[1, 1]],
        "components": {"1": [[0.0, 1.0]], "8": [[1.0, 0.0]]},
    }
    ways = {"squares": {"mean": 0.25, "reached": [1.0, 0.5]}, "clusters": {"mean": 0.5, "reached": [1.0, 0.75]}}
    write_json(tmp_path / "b.json", {"queries": 2, "thresholds": [0.0, 1.0], "ways": ways, "pictures": [picture]})
    page = region_page(tmp_path / "b.json")
    assert "squares, mean 0.25" in page.curves
    ((name, drawn),) = page.pictures
    assert (name, list(drawn)) == ("q", ["q", "l2 norm", "clusters", "with a spatial term", "component 1", "component 8"])
    with Image.open(io.BytesIO(base64.b64decode(drawn["clusters"].partition(",")[2]))) as clusters:
        left, right = clusters.getpixel((5, 5)), clusters.getpixel((35, 5))
    assert left != right
    write_json(tmp_path / "none.json", {"queries": 0})
    assert region_page(tmp_path / "none.json") == RegionPage(0, "", [])


def test_a_table_that_is_missing_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"t\.csv: not found; make it with `python -m bench\.patches`"):
        read_rows(tmp_path / "t.csv", "`python -m bench.patches`")


def test_times_of_matching_are_a_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("dimensions,work,seconds\n256,patch distances,0.7\n", encoding="utf-8")
    assert read_rows(tmp_path / "t.csv") == [{"dimensions": "256", "work": "patch distances", "seconds": "0.7"}]


def test_class_activations_are_drawn_with_the_names_of_their_classes(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20), (1, 2, 3)).save(buffer, "JPEG")
    jpeg = base64.b64encode(buffer.getvalue()).decode("ascii")
    labels = [[-1, 2, 2], [7, -1, 2]]
    picture = {"image_id": "a", "instance": None, "jpeg": jpeg, "heat": [[0, 1, 2], [3, 1, 5]], "labels": labels, "names": {"2": "vase", "7": "wall"}}
    write_json(path, {"network": "net", "reason": "", "pictures": [picture, picture | {"heat": [[1.0]], "labels": [[2]]}]})
    page = activation_page(path)
    assert page.network == "net"
    assert list(page.pictures[0][1]) == ["a", "maximal activation, 0.0 to 5.0", "its class where above the mean: vase, wall"]
    assert all(address.startswith("data:image/jpeg") for _, shown in page.pictures for address in shown.values())
    drawn = Image.open(io.BytesIO(base64.b64decode(page.pictures[0][1]["its class where above the mean: vase, wall"].partition(",")[2])))
    assert drawn.size == (40, 20)
    assert abs(np.asarray(drawn, int)[4, 4] - (1, 2, 3)).max() < 12, "below the mean the photograph is seen"
    assert abs(np.asarray(drawn, int)[4, 20] - (1, 2, 3)).max() > 60
    heat = Image.open(io.BytesIO(base64.b64decode(page.pictures[0][1]["maximal activation, 0.0 to 5.0"].partition(",")[2])))
    assert abs(np.diff(np.asarray(heat, int)[10], axis=0)).max() < 40, "the heat map has no edges between its cells"


def test_training_curves_leave_out_what_was_not_measured(tmp_path: Path) -> None:
    (tmp_path / "step.csv").write_text("epoch,loss,active,map,p_at_1,spread\n0,,,,,0.5\n1,2.0,0.5,,,0.6\n")
    curves = training_curves(tmp_path)
    assert list(curves) == ["step"]
    assert "loss" in curves["step"]
    assert "mAP" not in curves["step"]
