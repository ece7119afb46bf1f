"""Stratification: moves groups between splits until each class has its share of each split.

A group may be of several classes, and counts for each of them. Of the groups that may move, those
move first that lie nearest to the split in need. Where a class has no group in a split and none can
move without a loss, several change their splits together.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

MISSING = 1000  # what a class without a split costs, in groups that it lacks elsewhere
WIDTHS = (20, 10, 10, 10)  # groups that are tried at each step of a change of several

Cell = tuple[str, str]  # a class and a split


def stratify(
    splits: Mapping[str, str],
    *,
    strata: Mapping[str, Collection[str]],
    allowed: Mapping[str, Sequence[str]],
    least: Mapping[Cell, int],
    distance: Callable[[str, str], float],
) -> dict[str, str]:
    """Returns the split of each group, the given one unless a class lacks groups in another.

    Args:
      splits: group -> its split before.
      strata: group -> its classes.
      allowed: group that may move -> the splits that it may be in.
      least: (class, split) -> how many groups of the class it should have.
      distance: (group, split) -> how far the group is from the split; the nearest moves first.
    """
    return _Division(dict(splits), strata, allowed, least, distance).run()


class _Division:
    """Groups divided among splits, and what each class lacks.

    Attributes:
      splits: group -> its split.
      cost: groups that classes lack; a class without a split counts `MISSING` more.
    """

    def __init__(
        self,
        splits: dict[str, str],
        strata: Mapping[str, Collection[str]],
        allowed: Mapping[str, Sequence[str]],
        least: Mapping[Cell, int],
        distance: Callable[[str, str], float],
    ):
        self.splits = splits
        self._strata, self._least = strata, least
        pairs = [(one, group) for group, of_group in strata.items() for one in of_group]
        self._counts = Counter((one, splits[group]) for one, group in pairs)
        movable = defaultdict(list)
        for one, group in pairs:
            for split in allowed.get(group, ()):
                movable[one, split].append((distance(group, split), group))
        self._movable = {cell: [g for _, g in sorted(groups)] for cell, groups in movable.items()}
        self._size = Counter(one for one, _ in pairs)
        self.cost = sum(map(self._lack, least))

    def run(self) -> dict[str, str]:
        cells = sorted(self._least, key=lambda cell: (self._size[cell[0]], cell[0]))
        before = None
        while self.cost and self.cost != before:
            before = self.cost
            for cell in cells:
                self._move_single(cell)
            for cell in cells:
                if self._is_short(cell) and not self._counts[cell]:
                    self._move_several(cell, self.cost, ())
        return self.splits

    def _move_single(self, cell: Cell) -> None:
        """Moves the nearest groups to a cell, each of which lowers the cost."""
        _, split = cell
        for group in self._movable.get(cell, ()):
            if not self._is_short(cell):
                return
            old, cost = self.splits[group], self.cost
            if old != split:
                self._move(group, split)
                if self.cost >= cost:
                    self._move(group, old)

    def _move_several(self, cell: Cell, cost: int, moved: tuple[str, ...]) -> bool:
        """Moves a group to a cell, and others to where it is missed, if that lowers the cost.

        Args:
          cell: the class and split in need.
          cost: what it has to be lower than.
          moved: groups that have moved for it so far.
        """
        _, split = cell
        groups = [g for g in self._movable.get(cell, ()) if self.splits[g] != split]
        for group in groups[: WIDTHS[len(moved)]]:
            if group in moved:
                continue
            old = self.splits[group]
            self._move(group, split)
            if self.cost < cost:
                return True
            # A group of one class is missed by this class only: whatever fills its place could
            # have moved instead.
            if len(moved) + 1 < len(WIDTHS) and len(self._strata[group]) > 1:
                for one in sorted(self._strata[group]):
                    short = (one, old)
                    if self._is_short(short) and self._move_several(short, cost, (*moved, group)):
                        return True
            self._move(group, old)
        return False

    def _move(self, group: str, split: str) -> None:
        old = self.splits[group]
        for one in self._strata[group]:
            for name, change in ((old, -1), (split, 1)):
                self.cost -= self._lack((one, name))
                self._counts[one, name] += change
                self.cost += self._lack((one, name))
        self.splits[group] = split

    def _is_short(self, cell: Cell) -> bool:
        return self._counts[cell] < self._least.get(cell, 0)

    def _lack(self, cell: Cell) -> int:
        """Returns what a class lacks in a split."""
        least, count = self._least.get(cell, 0), self._counts[cell]
        return max(0, least - count) + MISSING * (least > 0 and count == 0)
