"""What computes a version: the runtime that is asked for, or the fastest here, if it agrees."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.models.spec import Spec
from tfpipe.serving.model.batching import Signature
from tfpipe.serving.runtimes import available, backends, parity, signature
from tfpipe.serving.runtimes.available import AUTO, SAVEDMODEL
from tfpipe.serving.runtimes.backends import Arrays

LOG = logging.getLogger("tfpipe")
MOST_S = 5.0  # that all runtimes together are measured for
COUNTS = (1, 32)  # examples of a call that is measured: what comes alone, and what has gathered
INSTEAD = "It is served by --runtime savedmodel."
Times = dict[str, dict[int, float]]


class Chosen(NamedTuple):
    """What computes a version.

    Attributes:
      runtime: its name.
      signatures: of the version, computed by it.
      measured_ms: runtime -> examples of a call -> milliseconds, where it was to be chosen.
      left_out: runtime -> why it could not be chosen.
    """

    runtime: str
    signatures: dict[str, Any]
    measured_ms: Times
    left_out: dict[str, str]


def chosen(model: Any, own: dict[str, Signature], spec: Spec, *, version: Path, runtime: str):
    """Returns the Chosen of a version.

    Args:
      model: the loaded SavedModel.
      own: its signatures, as it computes them itself.
      spec: of the model.
      version: its folder.
      runtime: a name of `installed.MODULES`, or "auto".

    Raises:
      UserError: the runtime asked for is not installed, cannot compute the version, or answers
        otherwise than the SavedModel.
    """
    if runtime == SAVEDMODEL:
        return Chosen(SAVEDMODEL, own, {}, {})
    function = backends.of_numbers(model.signatures["predict_tensor"])
    asked = parity.requests(version, spec, own)

    def computed(name: str) -> dict:
        return _computed(function, own, spec, asked=asked, version=version, runtime=name)

    if runtime != AUTO:
        return Chosen(runtime, computed(runtime), {}, {})
    there, left_out = {SAVEDMODEL: own}, {}
    for name in backends.NETWORKS:
        try:
            there[name] = computed(name)
        except UserError as error:
            left_out[name] = str(error)
            if not available.missing(name):
                LOG.warning("%s", error)
    if len(there) == 1:
        return Chosen(SAVEDMODEL, own, {}, left_out)
    (_, examples), *_ = asked
    calls = {name: signatures["predict_tensor"] for name, signatures in there.items()}
    measured_ms = timed(calls, examples)
    best = fastest(measured_ms)
    LOG.info("%s is computed by %s. Milliseconds by examples: %s", version, best, measured_ms)
    return Chosen(best, there[best], measured_ms, left_out)


def timed(calls: dict[str, Callable], examples: Arrays, *, most_s: float = MOST_S) -> Times:
    """Returns how long each call takes, in milliseconds: medians over turns, one of each a turn.

    Args:
      calls: name -> what is called.
      examples: that they are called with, [n, ...], n at least the largest of COUNTS.
      most_s: in all; where two turns take longer, they are all there is.
    """
    took = {name: {count: [] for count in COUNTS} for name in calls}
    ends, turns = time.perf_counter() + most_s, 0
    while turns < 2 or time.perf_counter() < ends:
        for count in COUNTS:
            some = {name: array[:count] for name, array in examples.items()}
            for name, call in calls.items():
                began = time.perf_counter()
                call(some)
                took[name][count].append(1000 * (time.perf_counter() - began))
        turns += 1
    return {  # without the first turn, in which much is planned
        name: {count: round(float(np.median(times[1:])), 3) for count, times in each.items()}
        for name, each in took.items()
    }


def fastest(measured_ms: Times) -> str:
    """Returns the name of the least geometric mean: a share gained counts the same at any count."""
    return min(measured_ms, key=lambda name: np.prod([*measured_ms[name].values()]))


def _computed(
    function: Any,
    own: dict[str, Signature],
    spec: Spec,
    *,
    asked: list,
    version: Path,
    runtime: str,
) -> dict[str, Any]:
    """Returns a version's signatures computed by another runtime, which agrees with its own."""
    available.check(runtime)
    whole = f"{version.parent.name}/{version.name}"
    try:
        network = backends.NETWORKS[runtime](function)
        found = signature.signatures(own, network, spec)
        difference, of = parity.worst(own, found, asked)
    except Exception as error:  # each of these packages has its own kinds
        told = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        why = f"{type(error).__name__}, {told[:200]}"
        raise UserError(f"{whole} cannot be computed by {runtime}: {why}. {INSTEAD}") from error
    if difference > parity.TOLERANCE:
        raise UserError(
            f"{whole} computed by {runtime} differs by {difference:.2g} from its SavedModel in "
            f"{of}, expected at most {parity.TOLERANCE:g}. {INSTEAD}"
        )
    return found
