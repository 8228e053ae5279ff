"""`runai-async print`: the tools that it prints for accept it, and it agrees with the exporter."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from support.cli import Ran, ran

from runai_async import __version__
from runai_async.exporter import Metrics

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
OWN = re.compile(r"\brunai_\w+")


async def printed(*args: str) -> str:
    result = await ran(None, "print", *args)
    assert (result.status, result.err) == (0, "")
    return result.out


def promtool(*args: str) -> str:
    assert PROMTOOL is not None
    ended = subprocess.run([PROMTOOL, *args], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


async def rules() -> dict[str, dict[str, Any]]:
    """Return the alerts by name."""
    (group,) = yaml.safe_load(await printed("alerts"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def everything(node: object, key: str) -> Iterator[Any]:
    """Yield all values of a key, wherever it is."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from everything(value, key)
    elif isinstance(node, list):
        for item in node:
            yield from everything(item, key)


async def queries_of_the_dashboard() -> list[str]:
    dashboard = json.loads(await printed("dashboard"))
    (variable,) = [item for item in dashboard["templating"]["list"] if item["name"] == "project"]
    shown = [part for key in ("panels", "annotations") for part in everything(dashboard[key], "expr")]
    return [*shown, variable["query"]["query"]]


def exported() -> set[str]:
    """Return the name of each metric that the exporter has."""
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    collectors: dict[Any, Any] = Metrics().registry._collector_to_names
    return {
        f"{family.name}{suffix}"
        for collector in collectors
        for family in collector.describe()
        for suffix in suffixes.get(family.type, [""])
    }


def words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"\w+", text)}


# --- what they name exists ----------------------------------------------------------------------------------


async def test_the_queries_name_only_metrics_that_exist() -> None:
    queries = await queries_of_the_dashboard()
    alerts = [str(rule) for rule in (await rules()).values()]
    for text in [*queries, *alerts]:
        found = set(OWN.findall(text))
        assert found or "up == 0" in text, text
        assert found <= exported(), text


async def test_the_queries_name_only_labels_that_exist() -> None:
    text = Metrics.__doc__ or ""
    known = words(re.findall(r"with the labels\s+(.*?):", text, re.DOTALL))
    known |= words(re.findall(r"\{([\w, ]+)\}", text))
    known |= {"job", "instance", "namespace", "le"}  # of the scrape, and of a histogram
    alerts = [str(rule) for rule in (await rules()).values()]
    for text in [*await queries_of_the_dashboard(), *alerts]:
        named = words(re.findall(r"\b(?:by|on)\s*\(([\w, ]*)\)", text))
        named |= words(re.findall(r"\$labels\.(\w+)", text))
        named |= words(re.findall(r"[{,]\s*(\w+)\s*(?:=~|=|!=)", text))
        assert named <= known, text


async def test_the_dashboard_shows_what_is_asked_of_it() -> None:
    shown = set(OWN.findall(" ".join(await queries_of_the_dashboard())))
    assert shown >= {
        "runai_async_up",
        "runai_revision_phase",
        "runai_revision_stalled",
        "runai_async_poll_lag_seconds",
        "runai_async_requests_total",
        "runai_async_cluster_connected",
    }


async def test_the_dashboard_has_one_data_source_and_no_two_panels_in_one_place() -> None:
    dashboard = json.loads(await printed("dashboard"))
    assert {source["uid"] for source in everything(dashboard, "datasource")} == {"${datasource}"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken: set[tuple[int, int]] = set()
    for place in everything(dashboard["panels"], "gridPos"):
        columns, rows = (range(place[key], place[key] + place[size]) for key, size in ("xw", "yh"))
        cells = {(x, y) for x in columns for y in rows}
        assert not taken & cells
        assert max(x for x, _ in cells) < 24
        taken |= cells


@needs_promtool
async def test_prometheus_understands_the_dashboard_s_queries(tmp_path: Path) -> None:
    *queries, _ = await queries_of_the_dashboard()  # the last one is Grafana's own
    plain = [text.replace("$__rate_interval", "5m").replace("$project", ".*") for text in queries]
    records = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(plain)]
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": records}]}))
    assert f"{len(queries)} rules found" in promtool("check", "rules", str(path))


# --- alerts -------------------------------------------------------------------------------------------------


async def test_the_alerts_are_those_that_the_help_lists_and_their_names_begin_with_runai() -> None:
    listed = re.findall(r"^ +(Runai\w+)  ", (await ran(None, "print", "alerts", "--help")).out, re.MULTILINE)
    assert [*await rules()] == listed
    assert len(listed) == 7


async def test_each_alert_has_a_severity_and_says_in_words_what_is_wrong() -> None:
    for name, rule in (await rules()).items():
        assert rule["labels"]["severity"] in {"warning", "critical"}, name
        assert rule["annotations"].keys() == {"summary", "description"}, name


@needs_promtool
async def test_promtool_finds_no_fault_in_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(await printed("alerts"))
    assert "SUCCESS: 7 rules found" in promtool("check", "rules", str(path))


class Story(NamedTuple):
    """What is scraped once a minute, and when an alert fires.

    Attributes:
        alert: its name.
        series: the values of each series; promtool's notation.
        at: minutes after which the alert is looked for.
        fires: the labels of each alert that fires then.
    """

    alert: str
    series: dict[str, str]
    at: int
    fires: tuple[dict[str, str], ...] = ()


WORKLOAD = {"workload_id": "w", "workload": "chat", "project": "team-a"}
OLD = WORKLOAD | {"revision_id": "r1", "revision": "chat-00001"}
NEW = WORKLOAD | {"revision_id": "r2", "revision": "chat-00002"}
TARGET = {"job": "runai", "instance": "10.0.0.1:9464", "namespace": "monitoring"}
AGAIN = {"job": "runai", "instance": "10.0.0.2:9464", "namespace": "monitoring"}
SERVICE = {"job": "runai", "namespace": "monitoring"}
CLUSTER = {"cluster_id": "c", "cluster": "dc-1"}
ALWAYS = "1x120"


def of(name: str, labels: dict[str, str], target: dict[str, str] = TARGET, **more: str) -> str:
    """Return a series as it is scraped from an exporter."""
    found = ",".join(f'{key}="{value}"' for key, value in {**labels, **target, **more}.items())
    return f"{name}{{{found}}}"


def created(labels: dict[str, str], at: int, target: dict[str, str] = TARGET) -> dict[str, str]:
    return {of("runai_revision_created_timestamp_seconds", labels, target): f"{at}x120"}


def phase(
    labels: dict[str, str], name: str, values: str = ALWAYS, target: dict[str, str] = TARGET
) -> dict[str, str]:
    return {of("runai_revision_phase", labels, target, phase=name): values}


def stalled(labels: dict[str, str], values: str) -> dict[str, str]:
    return {of("runai_revision_stalled", labels): values}


def scraped(up: str = ALWAYS, reachable: str = ALWAYS, target: dict[str, str] = TARGET) -> dict[str, str]:
    return {of("up", {}, target): up, of("runai_async_up", {}, target): reachable}


def readable(values: str, target: dict[str, str] = TARGET) -> dict[str, str]:
    return {of("runai_async_workload_up", WORKLOAD, target): values}


def connected(values: str) -> dict[str, str]:
    return {of("runai_async_cluster_connected", CLUSTER): values}


def old_and_new(old: str, new: str, target: dict[str, str] = TARGET) -> dict[str, str]:
    times = created(OLD, 1000, target) | created(NEW, 2000, target)
    return times | phase(OLD, old, target=target) | phase(NEW, new, target=target)


FAILED = "RunaiRevisionFailed"
STALLED = "RunaiRevisionStalled"
TOO_LONG = "RunaiRolloutTooLong"
DOWN = "RunaiExporterDown"
UNREACHABLE = "RunaiControlPlaneUnreachable"
STALE = "RunaiStale"
DISCONNECTED = "RunaiClusterDisconnected"

FAILS = old_and_new("Running", "Failed")
MOVES_ON = phase(NEW, "Creating", "1x15 stale") | phase(NEW, "Pending", "_x15 1x60")
ENDS = phase(NEW, "Pending", "1x20 stale") | phase(NEW, "Running", "_x20 1x60")
GONE = scraped("1x10 0x60", "1x10 stale")
ANOTHER = {of("up", {}, {"job": "x", "instance": "y"}): "0x60"}
SILENT = scraped(reachable="1x10 0x60")

STORIES = {
    "the newest revision has failed": Story(FAILED, FAILS, 2, (NEW,)),
    "two exporters say so": Story(FAILED, FAILS | old_and_new("Running", "Failed", AGAIN), 2, (NEW,)),
    "one that was replaced had failed": Story(FAILED, old_and_new("Failed", "Running"), 60),
    "it failed for a moment": Story(FAILED, created(NEW, 2) | phase(NEW, "Failed", "1 stale"), 3),
    "a revision is stalled": Story(STALLED, stalled(NEW, ALWAYS) | stalled(OLD, "0x9"), 1, (NEW,)),
    "no revision is stalled": Story(STALLED, stalled(NEW, "0x120"), 60),
    "a rollout moves on for 31 minutes": Story(TOO_LONG, MOVES_ON, 31, (NEW,)),
    "it has taken 29 minutes": Story(TOO_LONG, phase(NEW, "Pending"), 29),
    "it is done after 20 minutes": Story(TOO_LONG, ENDS, 60),
    "a revision was stopped": Story(TOO_LONG, phase(OLD, "Stopped") | phase(NEW, "Terminating"), 60),
    "a target cannot be scraped": Story(DOWN, GONE, 16, (TARGET,)),
    "one of two targets cannot be scraped": Story(DOWN, GONE | scraped(target=AGAIN), 16, (TARGET,)),
    "there is no target": Story(DOWN, {}, 6, ({},)),
    "another target is down": Story(DOWN, scraped() | ANOTHER, 30),
    "it is scraped": Story(DOWN, scraped(), 60),
    "the control plane does not respond": Story(UNREACHABLE, SILENT, 13, (SERVICE,)),
    "it responds": Story(UNREACHABLE, scraped(), 60),
    "it was away for a minute": Story(UNREACHABLE, scraped(reachable="1x10 0x1 1x60"), 13),
    "one workload cannot be read": Story(STALE, scraped() | readable("1x10 0x60"), 16, (WORKLOAD,)),
    "none can be read": Story(STALE, SILENT | readable("1x10 0x60"), 30),
    "another exporter reads it": Story(
        STALE, scraped() | scraped(target=AGAIN) | readable("0x60") | readable(ALWAYS, AGAIN), 30
    ),
    "a cluster is disconnected": Story(DISCONNECTED, connected("1x10 0x60"), 16, (CLUSTER,)),
    "a cluster is connected": Story(DISCONNECTED, connected(ALWAYS), 60),
}


def test_each_alert_has_a_story_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    for name in (FAILED, STALLED, TOO_LONG, DOWN, UNREACHABLE, STALE, DISCONNECTED):
        assert {bool(story.fires) for story in STORIES.values() if story.alert == name} == {True, False}


@needs_promtool
async def test_the_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    known = await rules()
    for alert in known.values():
        alert["annotations"] = {}  # tested below
    rule_file, tests = tmp_path / "alerts.yaml", tmp_path / "tests.yaml"
    rule_file.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": [*known.values()]}]}))
    cases = [
        {
            "name": title,
            "interval": "1m",
            "input_series": [{"series": key, "values": values} for key, values in story.series.items()],
            "alert_rule_test": [
                {
                    "eval_time": f"{story.at}m",
                    "alertname": story.alert,
                    "exp_alerts": [
                        {"exp_labels": known[story.alert]["labels"] | labels} for labels in story.fires
                    ],
                }
            ],
        }
        for title, story in STORIES.items()
    ]
    tests.write_text(json.dumps({"rule_files": [str(rule_file)], "tests": cases}))
    promtool("test", "rules", str(tests))


@needs_promtool
async def test_an_alert_about_the_control_plane_says_since_when(tmp_path: Path) -> None:
    rule_file, tests = tmp_path / "alerts.yaml", tmp_path / "tests.yaml"
    rule_file.write_text(await printed("alerts"))
    started = {of("runai_async_outage_started_timestamp_seconds", {}): "60x60"}
    expected = (await rules())[UNREACHABLE]["annotations"]
    begins, _, _ = expected["description"].partition("{{")
    ends = expected["description"].rpartition("}}")[2]
    case = {
        "interval": "1m",
        "input_series": [
            {"series": key, "values": values} for key, values in (scraped(reachable="0x60") | started).items()
        ],
        "alert_rule_test": [
            {
                "eval_time": "10m",
                "alertname": UNREACHABLE,
                "exp_alerts": [
                    {
                        "exp_labels": {"severity": "critical"} | SERVICE,
                        "exp_annotations": {
                            "summary": expected["summary"],
                            "description": f"{begins} since 1970-01-01 00:01:00 +0000 UTC{ends}",
                        },
                    }
                ],
            }
        ],
    }
    tests.write_text(json.dumps({"rule_files": [str(rule_file)], "tests": [case]}))
    promtool("test", "rules", str(tests))


# --- the manifest -------------------------------------------------------------------------------------------


async def manifest(*args: str) -> dict[str, dict[str, Any]]:
    """Return the parts of a manifest by their kind."""
    return {part["kind"]: part for part in yaml.safe_load_all(await printed("manifest", *args))}


async def container(*args: str) -> dict[str, Any]:
    pod = (await manifest(*args))["Deployment"]["spec"]["template"]["spec"]
    (found,) = pod["containers"]
    assert isinstance(found, dict)
    return found


async def test_the_manifest_has_all_that_prometheus_needs() -> None:
    parts = await manifest()
    assert [*parts] == ["Deployment", "Service", "ServiceMonitor", "PrometheusRule"]
    assert {part["metadata"]["name"] for part in parts.values()} == {"runai-async-exporter"}
    labels = parts["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert labels == parts["Deployment"]["spec"]["selector"]["matchLabels"]
    assert labels == parts["Service"]["spec"]["selector"] == parts["Service"]["metadata"]["labels"]
    assert labels == parts["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    (port,) = parts["Service"]["spec"]["ports"]
    (endpoint,) = parts["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["port"] == port["name"]
    (container_port,) = (await container())["ports"]
    assert (port["targetPort"], container_port["containerPort"]) == (container_port["name"], 9464)


async def test_the_manifest_has_the_same_alerts() -> None:
    assert (await manifest())["PrometheusRule"]["spec"] == yaml.safe_load(await printed("alerts"))


async def test_the_exporter_in_the_manifest_has_few_rights_and_limits() -> None:
    pod = (await manifest())["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    found = await container()
    assert found["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert found["resources"].keys() == {"requests", "limits"}
    assert found["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert found["readinessProbe"]["httpGet"]["path"] == "/readyz"


async def test_the_credentials_are_in_a_secret() -> None:
    variables = (await container("--secret", "my.secret"))["env"]
    keys = {item["name"]: item["valueFrom"]["secretKeyRef"] for item in variables}
    assert keys == {
        name: {"name": "my.secret", "key": name}
        for name in ("RUNAI_BASE_URL", "RUNAI_CLIENT_ID", "RUNAI_CLIENT_SECRET")
    }
    assert "kubectl create secret generic my.secret " in await printed("manifest", "--secret", "my.secret")


async def test_the_arguments_in_the_manifest_are_options_of_the_exporter() -> None:
    found = await container()
    text = (await ran(None, *found["args"][:1], "--help")).out
    flags = [item for item in found["args"] if item.startswith("--")]
    assert flags == ["--all", "--listen", "--interval"]
    assert all(re.search(rf"^  (-\w, )?{flag}\b", text, re.MULTILINE) for flag in flags)
    assert found["command"] == ["runai-async"]
    rejected = await ran(None, *found["args"], RUNAI_BASE_URL="http://10.0.0.1", RUNAI_TOKEN="t")
    assert "--allow-http" in rejected.err  # all of its arguments are understood


async def test_shards_are_a_stateful_set_whose_pods_take_theirs_by_their_number(tmp_path: Path) -> None:
    parts = await manifest("--shards", "4", "--name", "x1")
    assert [*parts] == ["StatefulSet", "Service", "ServiceMonitor", "PrometheusRule"]
    spec = parts["StatefulSet"]["spec"]
    assert (spec["replicas"], spec["serviceName"], spec["podManagementPolicy"]) == (4, "x1", "Parallel")
    (found,) = spec["template"]["spec"]["containers"]
    (program := tmp_path / "runai-async").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    args = [*found["command"], *found["args"]]
    env = {"HOSTNAME": "x1-3", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    ended = subprocess.run(args, env=env, capture_output=True, text=True, check=True)
    given = ended.stdout.split()
    assert given[-2:] == ["--shard", "3/4"]
    assert given[:-2] == (await container())["args"]
    rejected = await ran(None, *given, RUNAI_BASE_URL="http://10.0.0.1", RUNAI_TOKEN="t")
    assert "--allow-http" in rejected.err  # all of its arguments are understood


async def test_the_options_of_the_manifest_stand_in_it() -> None:
    args = ("--namespace", "on", "--name", "x1", "--image", "r.example:5000/a@sha256:0f", "--interval", "90m")
    parts = await manifest(*args)
    assert {part["metadata"]["namespace"] for part in parts.values()} == {"on"}  # YAML 1.1's word for true
    assert {part["metadata"]["name"] for part in parts.values()} == {"x1"}
    found = await container(*args)
    assert (found["image"], found["args"][-1]) == ("r.example:5000/a@sha256:0f", "5400s")
    assert (await container())["image"] == f"runai-async:{__version__}"
    assert "namespace" not in (await manifest())["Service"]["metadata"]


@pytest.mark.parametrize(
    ("option", "value", "of"),
    [
        ("--namespace", "a\nb", "a namespace"),
        ("--namespace", "-a", "a namespace"),
        ("--name", "1a", "a Service"),
        ("--name", "a" * 64, "a Service"),
        ("--secret", "a..b", "a Secret"),
        ("--image", '"', "an image"),
        ("--image", "", "an image"),
    ],
)
async def test_what_would_change_the_manifest_is_rejected(option: str, value: str, of: str) -> None:
    result = await ran(None, "print", "manifest", option, value)
    assert (result.status, result.out) == (2, "")
    assert f"{value!r} cannot be the name of {of}".replace("\n", " ") in result.err.replace("\n", " ")


async def test_without_a_subcommand_the_help_is_printed() -> None:
    result = await ran(None, "print")
    assert result == Ran(2, "", (await ran(None, "print", "--help")).out)
