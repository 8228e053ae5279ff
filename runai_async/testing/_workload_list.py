"""The list of workloads: which rows a query selects, and their order. No HTTP."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

Row = Mapping[str, Any]
ListOrder = Literal["created", "random"]
LIST_ORDERS: tuple[ListOrder, ...] = get_args(ListOrder)

SORT_ORDERS = ("asc", "desc")
SORT_FIELDS = (
    *("type", "name", "clusterId", "projectId", "projectName", "departmentId", "departmentName", "createdAt"),
    *("deletedAt", "submittedBy", "phase", "completedAt", "nodepool", "distributedFramework", "allocatedGPU"),
    *("idleGpus", "idleAllocatedGpus", "phaseUpdatedAt", "category", "priority"),
)
"""What `sortBy` may be. There is no `updatedAt` among it."""

_OPERATORS = ("==", "!=", "<=", ">=", "=@", "!@", "=^", "=$")
_CONDITION_PATTERN = r"[A-Za-z0-9]+(==|!=|<=|>=|=@|!@|=\^|=\$)[A-Za-z0-9 ._-]+"
FILTER_PATTERN = f"^{_CONDITION_PATTERN}(,{_CONDITION_PATTERN})*$"


class WorkloadList:
    """How one server lists workloads.

    Args:
        rng: draws the random orders.
        sorts: whether the server knows `sortBy` and `sortOrder`.
    """

    def __init__(self, rng: random.Random, *, sorts: bool) -> None:
        self.sorts = sorts
        self._random = rng
        self._order: ListOrder = "created"

    @property
    def order(self) -> ListOrder:
        """The order of rows that no query asks to sort."""
        return self._order

    @order.setter
    def order(self, order: ListOrder) -> None:
        if order not in LIST_ORDERS:
            raise ValueError(f"list_order must be one of {', '.join(LIST_ORDERS)}, not {order!r}")
        self._order = order

    def arranged(self, rows: Iterable[Row], sort_by: str | None, sort_order: str | None) -> list[Row]:
        """Return rows, which are in the order of their creation, in the order of one response.

        Raises:
            ValueError: the query is not one that this server knows.
        """
        self._check(sort_by, sort_order)
        if sort_by is not None:
            return sorted(rows, key=lambda row: _sort_key(row, sort_by), reverse=sort_order == "desc")
        listed = list(rows)
        if self._order == "random":
            self._random.shuffle(listed)
        return listed

    def _check(self, sort_by: str | None, sort_order: str | None) -> None:
        if not self.sorts and (sort_by, sort_order) != (None, None):
            raise ValueError("sortBy and sortOrder are not supported")
        if sort_by not in (None, *SORT_FIELDS):
            raise ValueError(f"sortBy must be one of {', '.join(SORT_FIELDS)}")
        if sort_order not in (None, *SORT_ORDERS):
            raise ValueError(f"sortOrder must be one of {', '.join(SORT_ORDERS)}")


def _sort_key(row: Row, name: str) -> tuple[int, Any]:
    """Return what a row is sorted by: numbers, then texts, then what is missing."""
    value = row.get(name)
    if isinstance(value, int | float):
        return 0, value
    return (2, "") if value is None else (1, str(value))


def selected(rows: Iterable[Row], filters: Sequence[str]) -> list[Row]:
    """Return the rows that meet all conditions of `filterBy`.

    Raises:
        ValueError: a filter is malformed.
    """
    if any(re.fullmatch(FILTER_PATTERN, text) is None for text in filters):
        raise ValueError(f"filterBy is field, operator ({' '.join(_OPERATORS)}), value; comma-joined")
    conditions = [condition for text in filters for condition in text.split(",")]
    return [row for row in rows if all(_matches(row, condition) for condition in conditions)]


def _matches(row: Row, condition: str) -> bool:
    """Return whether a workload meets one condition."""
    operator = next(operator for operator in _OPERATORS if operator in condition)
    name, _, operand = condition.partition(operator)
    return _compare(operator, str(row.get(name, "")), operand)


def _compare(operator: str, value: str, operand: str) -> bool:
    results: dict[str, bool] = {
        "==": value == operand,
        "!=": value != operand,
        "<=": value <= operand,
        ">=": value >= operand,
        "=@": operand in value,
        "!@": operand not in value,
        "=^": value.startswith(operand),
        "=$": value.endswith(operand),
    }
    return results[operator]
