"""Choice of the runtime that computes a version: a given one, or the fastest that has parity."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.models.spec import Spec
from tfpipe.serving.model.batching import BatchedSignature, Signature
from tfpipe.serving.runtimes import available, backends, parity, signature
from tfpipe.serving.runtimes.available import AUTO, SAVEDMODEL
from tfpipe.serving.runtimes.backends import Arrays

LOG = logging.getLogger(__name__)
BUDGET_S = 5.0  # in which all runtimes together are measured
BATCH_SIZES = (1, 32)  # that are measured: a request alone, and a batch of waiting requests
HINT = "Serve it with --runtime savedmodel."
Timings = dict[str, dict[int, float]]  # runtime -> batch size -> milliseconds


class RuntimeChoice(NamedTuple):
    """The runtime that computes a version, and why.

    Attributes:
      runtime: its name.
      signatures: of the version, computed by it.
      measured_ms: runtime -> batch size -> milliseconds; empty unless the runtime was "auto".
      excluded: runtime -> why it could not be chosen.
    """

    runtime: str
    signatures: dict[str, Signature]
    measured_ms: Timings
    excluded: dict[str, str]


def choose_runtime(
    model: Any,
    signatures: dict[str, BatchedSignature],
    spec: Spec,
    *,
    version: Path,
    runtime: str,
    thresholds: dict[str, float],
    measure_s: float = BUDGET_S,
) -> RuntimeChoice:
    """Returns the runtime that computes a version.

    Args:
      model: the loaded SavedModel.
      signatures: its signatures, computed by the SavedModel.
      spec: of the model.
      version: its folder.
      runtime: a name of `available.PACKAGES`, or "auto".
      thresholds: of the version's decision rule.
      measure_s: seconds in which "auto" measures all runtimes together.

    Raises:
      UserError: the given runtime is not installed, cannot compute the version, or its outputs
        differ from the SavedModel's.
    """
    if runtime == SAVEDMODEL:
        return RuntimeChoice(SAVEDMODEL, {**signatures}, {}, {})
    function = backends.numeric_function(model.signatures["predict_tensor"])
    requests = parity.probe_requests(version, spec, signatures)

    def computed_by(name: str) -> dict[str, Signature]:
        return _checked_signatures(
            function,
            signatures,
            spec,
            requests=requests,
            version=version,
            runtime=name,
            thresholds=thresholds,
        )

    if runtime != AUTO:
        return RuntimeChoice(runtime, computed_by(runtime), {}, {})
    candidates: dict[str, dict[str, Signature]] = {SAVEDMODEL: {**signatures}}
    excluded = {}
    for name in backends.BACKENDS:
        try:
            candidates[name] = computed_by(name)
        except UserError as error:
            excluded[name] = str(error)
            if not available.missing_packages(name):
                LOG.warning("%s", error)
    if len(candidates) == 1:
        return RuntimeChoice(SAVEDMODEL, {**signatures}, {}, excluded)
    (_, examples), *_ = requests
    calls = {name: functions["predict_tensor"] for name, functions in candidates.items()}
    measured_ms = measure_ms(calls, examples, budget_s=measure_s)
    best = fastest(measured_ms)
    LOG.info("%s is computed by %s. Milliseconds by batch size: %s", version, best, measured_ms)
    return RuntimeChoice(best, candidates[best], measured_ms, excluded)


def measure_ms(
    calls: Mapping[str, Callable[[Arrays], Any]],
    examples: Arrays,
    *,
    budget_s: float = BUDGET_S,
) -> Timings:
    """Returns the median time of each call in milliseconds; the calls take turns.

    Args:
      calls: name -> function.
      examples: its argument, [n, ...], n at least the largest of BATCH_SIZES.
      budget_s: for all calls together; two rounds are made even if they take longer.
    """
    times: dict[str, dict[int, list[float]]] = {
        name: {size: [] for size in BATCH_SIZES} for name in calls
    }
    end, rounds = time.perf_counter() + budget_s, 0
    while rounds < 2 or time.perf_counter() < end:
        for size in BATCH_SIZES:
            batch = {name: array[:size] for name, array in examples.items()}
            for name, call in calls.items():
                start = time.perf_counter()
                call(batch)
                times[name][size].append(1000 * (time.perf_counter() - start))
        rounds += 1
    return {  # without the first round, in which runtimes plan
        name: {size: round(float(np.median(ms[1:])), 3) for size, ms in by_size.items()}
        for name, by_size in times.items()
    }


def fastest(measured_ms: Timings) -> str:
    """Returns the runtime with the least geometric mean over the batch sizes."""
    return min(measured_ms, key=lambda name: np.prod([*measured_ms[name].values()]))


def _checked_signatures(
    function: Any,
    signatures: dict[str, BatchedSignature],
    spec: Spec,
    *,
    requests: list[tuple[str, Arrays]],
    version: Path,
    runtime: str,
    thresholds: dict[str, float],
) -> dict[str, Signature]:
    """Returns a version's signatures computed by another runtime, once they have parity."""
    available.check(runtime)
    name = f"{version.parent.name}/{version.name}"
    try:
        network = backends.BACKENDS[runtime](function)
        computed = signature.runtime_signatures(signatures, network, spec, thresholds=thresholds)
        difference, where = parity.max_difference(signatures, computed, requests)
    except Exception as error:  # each of these packages has its own exceptions
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        reason = f"{type(error).__name__}, {line[:200]}"
        raise UserError(f"{name} cannot be computed by {runtime}: {reason}. {HINT}") from error
    if difference > parity.TOLERANCE:
        raise UserError(
            f"{name} computed by {runtime} differs by {difference:.2g} from its SavedModel in "
            f"{where}, expected at most {parity.TOLERANCE:g}. {HINT}"
        )
    return computed
