"""Power spectrum of a slice: how strongly its brightness varies on each length scale."""

import numpy as np


def power(slices: np.ndarray, *, cell_mpc: float) -> np.ndarray:
    """Returns the power of each wave, [n, side, side] float64, mK^2 Mpc^2, ordered as numpy.fft.

    P(k) = |sum of T exp(-ikx) dA|^2 / A, so that the sum over all waves but the constant one,
    divided by the area A, is the variance (Parseval).

    Args:
      slices: [n, side, side] float, mK; periodic, else waves that do not fit leak into others.
      cell_mpc: side of a cell.
    """
    side = slices.shape[-1]
    return np.abs(np.fft.fft2(slices.astype(np.float64))) ** 2 * (cell_mpc / side) ** 2


def wave_numbers(side: int, *, cell_mpc: float) -> np.ndarray:
    """Returns |k| of each wave, [side, side] float64, Mpc^-1, in the order of numpy.fft."""
    k = 2 * np.pi * np.fft.fftfreq(side, cell_mpc)
    return np.hypot(k[:, None], k)


def edges(side: int, *, cell_mpc: float, bins: int) -> np.ndarray:
    """Returns the edges of bins of k [at most bins + 1], Mpc^-1, from one wave a side to Nyquist's.

    They are even in log k. A bin without a wave is merged with the next.
    """
    waves = np.unique(wave_numbers(side, cell_mpc=cell_mpc))[1:]
    even = np.geomspace(waves[0] * (1 - 1e-9), np.pi / cell_mpc * (1 + 1e-9), bins + 1)
    merged = [even[0]]
    for edge in even[1:]:
        if ((waves >= merged[-1]) & (waves < edge)).any():
            merged.append(edge)
    return np.array(merged)


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
    binned_power = np.full((len(slices), len(bounds) - 1), np.nan)
    for number in range(binned_power.shape[1]):
        in_bin = place == number
        if in_bin.any():
            binned_power[:, number] = powers[:, in_bin].mean(axis=1)
    return binned_power


def column_names(bounds: np.ndarray) -> tuple[str, ...]:
    """Returns the names of the columns of `measure`."""
    pairs = zip(bounds[:-1], bounds[1:], strict=True)
    return ("mean_mk", *(f"log_power_k_{low:.3f}_{high:.3f}_per_mpc" for low, high in pairs))


def measure(slices: np.ndarray, bounds: np.ndarray, *, cell_mpc: float) -> np.ndarray:
    """Returns mean (mK) and log10(1 + binned power in mK^2 Mpc^2) of slices, [n, 1 + bins] float32.

    Power spans five powers of ten. Without the logarithm a network would use the largest only.
    """
    mean = slices.mean(axis=(1, 2), dtype=np.float64)[:, None]
    log_power = np.log10(1 + binned(slices, bounds, cell_mpc=cell_mpc))
    return np.hstack([mean, log_power]).astype(np.float32)
