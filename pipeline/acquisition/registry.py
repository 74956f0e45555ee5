"""Every data set by the name that `source` of datasets.NAME in params.yaml takes."""

from pipeline.acquisition.affine_covariant import AffineCovariant
from pipeline.acquisition.flickr100k import Flickr100k
from pipeline.acquisition.folder import Folder
from pipeline.acquisition.gallery import Gallery
from pipeline.acquisition.google_landmarks import GoogleLandmarks
from pipeline.acquisition.holidays import Holidays
from pipeline.acquisition.ilias import Ilias, IliasDistractors
from pipeline.acquisition.instre import Instre
from pipeline.acquisition.met import Met
from pipeline.acquisition.mirflickr1m import MirFlickr1M
from pipeline.acquisition.none import Nothing
from pipeline.acquisition.oxford5k import Oxford5k
from pipeline.acquisition.paris6k import Paris6k
from pipeline.acquisition.products import OnlineProducts
from pipeline.acquisition.revisited import RevisitedOxford, RevisitedParis
from pipeline.acquisition.sculptures6k import Sculptures6k
from pipeline.acquisition.sources import Dataset
from pipeline.acquisition.ukbench import UKBench

DATASETS: dict[str, type[Dataset]] = {
    "none": Nothing,
    "gallery": Gallery,
    "folder": Folder,
    "oxford5k": Oxford5k,
    "paris6k": Paris6k,
    "roxford5k": RevisitedOxford,
    "rparis6k": RevisitedParis,
    "holidays": Holidays,
    "ukbench": UKBench,
    "sculptures6k": Sculptures6k,
    "affine_covariant": AffineCovariant,
    "online_products": OnlineProducts,
    "google_landmarks": GoogleLandmarks,
    "met": Met,
    "instre": Instre,
    "ilias": Ilias,
    "ilias_distractors": IliasDistractors,
    "flickr100k": Flickr100k,
    "mirflickr1m": MirFlickr1M,
}
