"""`runai-async print`: what is pasted into Prometheus, Grafana and Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from string import Template
from textwrap import indent
from typing import Any

import click

from runai_async._version import __version__
from runai_async.cli.groups import Group
from runai_async.cli.options import DURATION, examples

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_SECRET = re.compile(rf"(?=.{{1,253}}\Z){_NAMESPACE.pattern}(\.{_NAMESPACE.pattern})*")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")

_ALERTS = """\b
Alerts:
  RunaiRevisionFailed           the newest revision of a workload has failed
  RunaiRevisionStalled          a revision is stuck in one phase
  RunaiRolloutTooLong           a revision has been on its way for 30 minutes
  RunaiExporterDown             the exporter cannot be scraped
  RunaiControlPlaneUnreachable  the control plane does not respond
  RunaiStale                    a workload cannot be read
  RunaiClusterDisconnected      a cluster has lost its control plane"""


def _name(pattern: re.Pattern[str], of: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return the callback of an option that becomes a part of YAML, where another text would change more."""

    def check(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is not None and not pattern.fullmatch(value):
            raise click.BadParameter(f"{value!r} cannot be the name of {of}", ctx, param)
        return value

    return check


_DEPLOYMENT = {
    "kind": "Deployment",
    "of_kind": "",
    "command": """[runai-async]
          args: [exporter, --all, --listen, "0.0.0.0:9464", --interval, "${interval}"]""",
}
_STATEFUL_SET = {
    "kind": "StatefulSet",
    "of_kind": """
  serviceName: "${name}"
  podManagementPolicy: Parallel""",
    # The names of its pods end with their numbers, from 0 on.
    "command": """[sh, -c]
          args:
            - >-
              exec runai-async exporter --all --listen 0.0.0.0:9464 --interval ${interval}
              --shard "$${HOSTNAME##*-}/${shards}\"""",
}


@click.group(
    "print",
    cls=Group,
    epilog=examples(
        "runai-async print alerts > runai-async.yaml", "runai-async print dashboard > dashboard.json"
    ),
)
def print_() -> None:
    """Print a dashboard, alerts or a manifest for the exporter.

    They are for Grafana, Prometheus and Kubernetes, and go with the metrics of this version.
    """


print = print_  # noqa: A001  (a command is found by its name)


@print_.command(epilog=examples("runai-async print dashboard > dashboard.json"))
def dashboard() -> None:
    """Print a Grafana dashboard, to be imported.

    It shows phases by project, what has failed or is stalled, rollouts in progress, and how the exporter's
    polls and requests go. Its data source is any Prometheus that scrapes the exporter.
    """
    click.echo(_data("dashboard.json"), nl=False)


@print_.command(
    epilog=f"{_ALERTS}\n\n{examples('runai-async print alerts > /etc/prometheus/rules/runai-async.yaml')}"
)
def alerts() -> None:
    """Print alerting rules for Prometheus.

    Their names begin with Runai, by which Alertmanager can route them.
    """
    click.echo(_data("alerts.yaml"), nl=False)


@print_.command(
    epilog=examples(
        "runai-async print manifest > exporter.yaml",
        "runai-async print manifest --namespace monitoring | kubectl apply -f -",
    )
)
@click.option(
    "--namespace",
    callback=_name(_NAMESPACE, "a namespace"),
    help="The namespace.  [default: that of kubectl's context]",
)
@click.option(
    "--name",
    callback=_name(_SERVICE, "a Service"),
    default="runai-async-exporter",
    show_default=True,
    help="The name of all parts.",
)
@click.option(
    "--image",
    callback=_name(_IMAGE, "an image"),
    default=f"runai-async:{__version__}",
    show_default=True,
    help="An image with runai-async in it.",
)
@click.option(
    "--secret",
    callback=_name(_SECRET, "a Secret"),
    default="runai-async",
    show_default=True,
    help="The Secret with RUNAI_BASE_URL, RUNAI_CLIENT_ID and RUNAI_CLIENT_SECRET.",
)
@click.option("--interval", type=DURATION, default="30s", show_default=True, help="The time between polls.")
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="The number of exporters that share the workloads: a StatefulSet.",
)
def manifest(
    *, namespace: str | None, name: str, image: str, secret: str, interval: float, shards: int
) -> None:
    """Print a manifest that runs the exporter in Kubernetes.

    It has a Deployment, or with --shards a StatefulSet, a Service, and for the Prometheus operator a
    ServiceMonitor and a PrometheusRule with the alerts. The credentials are in a Secret, which must exist;
    the manifest says how to make it, and what the image needs.
    """
    _, key, groups = _data("alerts.yaml").partition("groups:")
    values = {
        "shards": str(shards),
        "namespace": f'\n  namespace: "{namespace}"' if namespace else "",
        "in_namespace": f" --namespace {namespace}" if namespace else "",
        "name": name,
        "image": image,
        "secret": secret,
        "interval": f"{interval:.3f}".rstrip("0").rstrip(".") + "s",
        "rules": indent(key + groups, "  ").rstrip("\n"),
    }
    parts = _DEPLOYMENT if shards == 1 else _STATEFUL_SET
    values |= {key: Template(text).substitute(values) for key, text in parts.items()}
    click.echo(Template(_data("manifest.yaml")).substitute(values))


def _data(name: str) -> str:
    return files("runai_async.cli").joinpath("data", name).read_text(encoding="utf-8")
