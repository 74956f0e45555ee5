"""Stage names: refuse names of params.yaml that are unsafe in a path, and write data/names.json, whose bytes never change.

Every other stage depends on that file, so that plain `dvc repro` checks the names before it makes or removes anything. Records of new data
sets are written as well, since the stage download depends on them.
"""

from pipeline.stage import places
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import ParameterError
from pipeline.stage.names import NAMED, RULE, refuse_names
from pipeline.stage.parameters import PARAMS_FILE, read_section
from pipeline.stage.run_record import Produced
from pipeline.stage.source_records import ensure_source_records
from pipeline.stage.tables import write_json


def main(arguments: list[str]) -> Produced:
    if arguments:
        raise ParameterError(f"names: takes no arguments, got {' '.join(arguments)}")
    refuse_names({place: read_section(place) for place in (*NAMED, "network")}, str(PARAMS_FILE))
    ensure_source_records(read_section("datasets"))
    write_json(places.NAMES, {"names": RULE})
    return Produced((places.NAMES,), 1, "files")


if __name__ == "__main__":
    run_stage(main)
