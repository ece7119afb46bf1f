"""The power spectrum of a slice: how strongly its brightness varies on each length."""

import numpy as np


def power(slices: np.ndarray, *, cell_mpc: float) -> np.ndarray:
    """Returns the power of each wave, [n, side, side] float64, mK^2 Mpc^2, in numpy's order.

    P(k) = |sum of T exp(-ikx) dA|^2 / A, so that the sum over all waves but the constant one,
    divided by the area A, is the variance (Parseval).

    Args:
      slices: [n, side, side] float, mK; periodic, or waves that do not fit leak into others.
      cell_mpc: side of a cell.
    """
    side = slices.shape[-1]
    return np.abs(np.fft.fft2(slices.astype(np.float64))) ** 2 * (cell_mpc / side) ** 2


def wave_numbers(side: int, *, cell_mpc: float) -> np.ndarray:
    """Returns |k| of each wave, [side, side] float64, Mpc^-1, in numpy's order of waves."""
    k = 2 * np.pi * np.fft.fftfreq(side, cell_mpc)
    return np.hypot(k[:, None], k)


def edges(side: int, *, cell_mpc: float, bins: int) -> np.ndarray:
    """Returns the edges of bins of k [at most bins + 1], Mpc^-1, from one wave a side to Nyquist's.

    They are even in log k; a bin without any wave is joined to the next.
    """
    waves = np.unique(wave_numbers(side, cell_mpc=cell_mpc))[1:]
    even = np.geomspace(waves[0] * (1 - 1e-9), np.pi / cell_mpc * (1 + 1e-9), bins + 1)
    kept = [even[0]]
    for edge in even[1:]:
        if ((waves >= kept[-1]) & (waves < edge)).any():
            kept.append(edge)
    return np.array(kept)


def binned(slices: np.ndarray, bounds: np.ndarray, *, cell_mpc: float) -> np.ndarray:
    """Returns the mean power in bins of k, [n, bins] float64, mK^2 Mpc^2; nan where no wave fits.

    Args:
      slices: [n, side, side] float, mK.
      bounds: [bins + 1] float, Mpc^-1, see `edges`.
      cell_mpc: side of a cell.
    """
    waves = wave_numbers(slices.shape[-1], cell_mpc=cell_mpc).ravel()
    place = np.searchsorted(bounds, waves, side="right") - 1
    powers = power(slices, cell_mpc=cell_mpc).reshape(len(slices), -1)
    found = np.full((len(slices), len(bounds) - 1), np.nan)
    for number in range(found.shape[1]):
        own = place == number
        if own.any():
            found[:, number] = powers[:, own].mean(axis=1)
    return found


def columns(bounds: np.ndarray) -> tuple[str, ...]:
    """Returns names of what `measured` gives."""
    pairs = zip(bounds[:-1], bounds[1:], strict=True)
    return ("mean_mk", *(f"log_power_k_{low:.3f}_{high:.3f}_per_mpc" for low, high in pairs))


def measured(slices: np.ndarray, bounds: np.ndarray, *, cell_mpc: float) -> np.ndarray:
    """Returns mean (mK) and log10(1 + binned power in mK^2 Mpc^2) of slices, [n, 1 + bins] float32.

    Power spans five powers of ten, of which a network that sees it as it is would notice the last.
    """
    mean = slices.mean(axis=(1, 2), dtype=np.float64)[:, None]
    power = np.log10(1 + binned(slices, bounds, cell_mpc=cell_mpc))
    return np.hstack([mean, power]).astype(np.float32)
