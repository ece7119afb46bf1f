"""One row of the table of verified numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A number that tfpipe prints, and how near the truth it is.

    Attributes:
      number: the number as a user knows it, such as "95 % interval of a score, 6 new groups".
      truth: how the truth was made: a simulation with its size, or another library.
      nominal: what the number claims, such as "0.95".
      measured: what was measured, such as "0.947 of 2,000 intervals".
      holds: whether the claim holds.
    """

    number: str
    truth: str
    nominal: str
    measured: str
    holds: bool
