"""Parametric UMAP on two cores: seconds and trustworthiness, beside umap-learn's own map.

    python benchmarks/maps.py

Draws 10,000 embeddings of 64 numbers in 20 clusters of different widths, and fits both maps to
them, each of them once. The parametric one is to end in five minutes on two cores.
"""

import json
import time

import machine
import numpy as np

from tfpipe.base.tensorflow import start_tensorflow

POINTS, NUMBERS, KINDS = 10_000, 64, 20
LIMIT_S = 300.0


def drawn() -> np.ndarray:
    """Returns embeddings [points, numbers] float32."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, KINDS, POINTS)
    centres = rng.normal(0, 3, (KINDS, NUMBERS))
    widths = rng.uniform(0.5, 2, (KINDS, 1))
    noise = rng.normal(0, 1, (POINTS, NUMBERS))
    return (centres[kinds] + widths[kinds] * noise).astype(np.float32)


def main() -> None:
    start_tensorflow()
    from tfpipe.explore import parametric_umap, umap

    about, points = machine.about(), drawn()
    began = time.monotonic()
    fitted = parametric_umap.fit(points, seed=0)
    seconds = time.monotonic() - began
    own = parametric_umap.placed(fitted.model, points)
    began = time.monotonic()
    mapper = umap.fit(points, seed=0)
    summary = {
        **about,
        "parametric_s": round(seconds, 1),
        "parametric_steps": fitted.steps,
        "parametric_trustworthiness": round(umap.trust(points, own, seed=0), 4),
        "umap_s": round(time.monotonic() - began, 1),
        "umap_trustworthiness": round(umap.trust(points, mapper.embedding_, seed=0), 4),
    }
    print(json.dumps(summary, indent=1))
    if seconds > LIMIT_S:
        raise SystemExit(
            f"The parametric map took {seconds:.0f} s, expected at most {LIMIT_S:.0f}."
        )


if __name__ == "__main__":
    main()
