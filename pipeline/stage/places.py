"""Where stages read and write: the paths under data/ and reports/, from the project's folder."""

from pathlib import Path

DATA, REPORTS = Path("data"), Path("reports")
RAW, IMAGES, COLLECTIONS = DATA / "raw", DATA / "images", DATA / "collection"
NAMES, SOURCES = DATA / "names.json", DATA / "sources"
SWEEPS, PAPER_TABLES, TRAINING = REPORTS / "sweeps", REPORTS / "tables", REPORTS / "training"
PAGE, PICTURES, MADE, COMPARISON = REPORTS / "index.html", REPORTS / "pictures", REPORTS / "made.js", REPORTS / "comparison.html"
CATALOGUE, GROUND_TRUTH, NETWORK_CARD = "catalogue.parquet", "ground_truth.parquet", "network.json"


def raw(dataset: str) -> Path:
    """The files of a data set as they came."""
    return RAW / dataset


def source_record(dataset: str) -> Path:
    """What is known of the source of a data set."""
    return SOURCES / f"{dataset}.json"


def images(dataset: str) -> Path:
    """Catalogue, ground truth and resized images of a data set."""
    return IMAGES / dataset


def network(name: str) -> Path:
    """Weights and card of a network, or of what a step of training made."""
    return DATA / "networks" / name


def features(dataset: str) -> Path:
    """Feature maps of a data set."""
    return DATA / "features" / dataset


def models(benchmark: str) -> Path:
    """What the method learned for a benchmark."""
    return DATA / "models" / benchmark


def descriptors(benchmark: str) -> Path:
    """Descriptors of a benchmark's database, queries and held-out images."""
    return DATA / "descriptors" / benchmark


def distractors(benchmark: str) -> Path:
    """Descriptors of a benchmark's distractors."""
    return DATA / "distractors" / benchmark


def codes(benchmark: str) -> Path:
    """Binary codes of a benchmark, and their hash function."""
    return DATA / "codes" / benchmark


def rankings(benchmark: str) -> Path:
    """Rankings, counts and answers of a benchmark."""
    return DATA / "rankings" / benchmark


def collection(benchmark: str) -> Path:
    """What answers questions about a benchmark's database."""
    return COLLECTIONS / benchmark


def metrics(benchmark: str, reports: Path = REPORTS) -> Path:
    """The numbers of a benchmark."""
    return reports / "metrics" / f"{benchmark}.json"


def provenance(benchmark: str) -> Path:
    """What a benchmark's numbers were computed with."""
    return REPORTS / "provenance" / f"{benchmark}.json"


def curves(benchmark: str) -> Path:
    """Precision-recall curves of a benchmark."""
    return REPORTS / "plots" / f"{benchmark}.csv"


def per_query(benchmark: str, reports: Path = REPORTS) -> Path:
    """Average precision of every query of a benchmark."""
    return reports / "per_query" / f"{benchmark}.csv"


def training_curve(name: str) -> Path:
    """The curve of a step of training."""
    return TRAINING / f"{name}.csv"


def study(kind: str, benchmark: str) -> Path:
    """The result of a study: masks, patch_similarity, regions or activations."""
    return REPORTS / kind / f"{benchmark}.json"
