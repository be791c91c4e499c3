"""The verdict on fan-outs and workflows: each part is there once, and the whole ended as its parts say.

Worked out anew from the documents: what parts there have to be, how the whole had to end, what had to come after what.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.chaos.verdict import Verdict

    Row = Mapping[str, Any]


def judge_wholes(rows: Sequence[Row], verdict: Verdict) -> None:
    """Hold all that has parts against its parts, and the parts against what they are parts of."""
    by_id = {row["_id"]: row for row in rows}
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if "parent" in row:
            parts[row["parent"]].append(row)
    for row in rows:
        if "flow" in row and "total" in row:
            _judge_whole(row, parts.pop(row["_id"], []), by_id, verdict)
    for parent, orphans in parts.items():
        verdict.twice.append(f"{parent}: has {len(orphans)} parts, and none to have")


def _judge_whole(whole: Row, parts: Sequence[Row], by_id: Mapping[str, Row], verdict: Verdict) -> None:
    verdict.wholes += 1
    verdict.parts += len(parts)
    spec = json.loads(whole["flow"]["spec"])
    name = whole["_id"]
    found = Counter(part["part_name"] for part in parts)
    if whole["flow"]["kind"] == "WORKFLOW":
        states = dict.fromkeys(whole["carried"].get("steps", {}), "SUCCEEDED")
        expected = {step["name"] for step in spec["steps"]} - states.keys()
        states |= {part["part_name"]: part["state"] for part in parts}
        _judge_order(whole, spec["steps"], {part["part_name"]: part for part in parts}, by_id, verdict)
    else:
        expected = _numbers(whole, spec, by_id)
        states = {part["part_name"]: part["state"] for part in parts}
    if all(step["state"] != "WAITING" for step in whole["transitions"]):
        expected = set()  # it was stopped while a worker found out what its parts are
    verdict.lost += [f"{name}: its part {part} is not there" for part in sorted(expected - found.keys())]
    verdict.twice += [f"{name}: its part {part} is there {count} times" for part, count in found.items() if count > 1]
    verdict.twice += [f"{name}: has the part {part}, and should not" for part in sorted(found.keys() - expected)]
    counts = Counter(states.values())
    counts["SUCCEEDED"] += whole["carried"].get("succeeded", 0)
    if "parts" in whole and Counter(whole["parts"]) != +counts:
        verdict.illegal.append(f"{name}: counts {whole['parts']}, and its parts are {dict(+counts)}")
    if (state := _ending(whole, spec, counts)) != whole["state"]:
        verdict.illegal.append(f"{name}: is {whole['state']}, and its parts say {state}: {dict(+counts)}")
    for part in parts:
        if part["finished_at"] > whole["finished_at"]:
            verdict.illegal.append(f"{part['_id']}: ended after what it is a part of")


def _numbers(whole: Row, spec: Mapping[str, Any], by_id: Mapping[str, Row]) -> set[str]:
    """Return the items that a fan-out had to call: all, or those that an earlier one has left."""
    earlier = by_id.get(whole.get("reuse", ""))
    if earlier is None:
        return {str(number) for number in range(len(spec["items"]))}
    left = _numbers(earlier, spec, by_id)
    if "total" not in earlier:
        return left
    done = {
        row["part_name"]
        for row in by_id.values()
        if row.get("parent") == earlier["_id"] and row["state"] == "SUCCEEDED"
    }
    return left - done


def _ending(whole: Row, spec: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    if "cancel" in whole:
        return "CANCELLED"
    if whole["flow"]["kind"] == "WORKFLOW":
        return "FAILED" if counts["FAILED"] or counts["CANCELLED"] else "SUCCEEDED"
    total = sum(counts.values())
    needed = {"ALL": total, "AT_LEAST": spec["min_succeeded"], "SHARE": spec["min_share"] * total, "IGNORE": 0}
    return "SUCCEEDED" if counts["SUCCEEDED"] >= needed[spec["failure_policy"]] - 1e-9 else "FAILED"


def _judge_order(
    whole: Row,
    steps: Sequence[Mapping[str, Any]],
    parts: Mapping[str, Row],
    by_id: Mapping[str, Row],
    verdict: Verdict,
) -> None:
    """See that no step was decided before those had ended that it comes after, and none ran that was not to."""
    carried = {name: by_id[ran] for name, ran in whole["carried"].get("steps", {}).items() if ran in by_id}
    for step in steps:
        part = parts.get(step["name"])
        if part is None or "cancel" in whole:
            continue
        before = [(parts.get(name) or carried.get(name)) for name in step["after"]]
        for each in before:
            if each is None or each["finished_at"] > part["decided_at"]:
                verdict.illegal.append(f"{part['_id']}: decided before {each['_id'] if each else 'what'} had ended")
        missed = any(each is not None and each["state"] != "SUCCEEDED" for each in before)
        if missed and step["requires"] == "SUCCESS" and part["state"] != "SKIPPED":
            verdict.illegal.append(f"{part['_id']}: is {part['state']}, though a step before it has not succeeded")
