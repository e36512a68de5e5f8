"""Reads STIX objects, one JSON object a line; prints what the stix2 and stix2-patterns libraries, which
know nothing of this project, think of them."""

import json
import sys

import stix2
from stix2patterns.v21.pattern import Pattern
from stix2patterns.validator import run_validator

objects, patterns, wrong = 0, 0, []
for line in sys.stdin:
    objects += 1
    value = json.loads(line)
    try:
        stix2.parse(value)
    except Exception as error:
        wrong.append(f"{line.strip()}: {error!r}")
        continue
    if value.get("pattern_type") != "stix":
        continue
    patterns += 1
    pattern = value["pattern"]
    wrong += [f"{pattern}: {error}" for error in run_validator(pattern, stix_version="2.1")]
    found = Pattern(pattern).inspect().comparisons
    comparisons = [(kind, one) for kind, all in found.items() for one in all]
    if len(comparisons) != 1 or comparisons[0][1][1] != "=":
        wrong.append(f"{pattern}: not one equality comparison: {comparisons}")
print(json.dumps({"objects": objects, "patterns": patterns, "wrong": wrong}))
