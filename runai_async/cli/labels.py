"""What workloads are called: by their names, with their projects where a name occurs in several. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping


class Labels(MutableMapping[str, str]):
    """The names of workloads by their ids; what is read is `project/name` where a name is in two projects.

    Attributes:
        projects: the names of the workloads' projects, each to be set before the workload's name.
    """

    def __init__(self) -> None:
        self.projects: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._homes: dict[str, set[str]] = {}

    def __getitem__(self, workload_id: str) -> str:
        name, project = self._names[workload_id], self.projects.get(workload_id)
        return f"{project}/{name}" if project and len(self._homes[name]) > 1 else name

    def __setitem__(self, workload_id: str, name: str) -> None:
        self._names[workload_id] = name
        self._homes.setdefault(name, set()).add(self.projects.get(workload_id, ""))

    def __delitem__(self, workload_id: str) -> None:
        del self._names[workload_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def project_in(label: str) -> str:
    """Return the project of a label, with its slash; empty where the label is a name."""
    project, slash, _ = label.rpartition("/")
    return project + slash
