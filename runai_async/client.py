"""The client: puts the parts together, and does nothing else."""

from __future__ import annotations

import os
import ssl as ssl_module
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack, cast
from uuid import UUID

import aiohttp
from attrs import evolve
from yarl import URL

from runai_async import _codec
from runai_async._api.api import Api
from runai_async._api.endpoints import Endpoints
from runai_async._api.paging import LONGEST_PAGE, LeftOut, paged
from runai_async._api.retry import Retrying
from runai_async._api.server_time import ServerTime
from runai_async._api.workload_list import Selection, conditions, each_once
from runai_async._api.workload_query import Choose, WorkloadQuery, check_own
from runai_async._arguments import (
    check_client,
    check_control_plane,
    check_fleet,
    check_id,
    check_relaxed,
    check_resume,
    check_timeout,
    phases,
    poll_policy,
)
from runai_async._auth.credentials import Auth, ClientCredentials
from runai_async._auth.environment import auth_from, base_url_from
from runai_async._auth.sources import token_source
from runai_async._auth.transport import Authenticated
from runai_async._clock import Clock, SystemClock
from runai_async._fleet.discovery import WorkloadIds
from runai_async._fleet.fleet_watch import FleetWatch
from runai_async._fleet.spread import as_shard
from runai_async._http.addresses import check_base_url, check_proxy, environment_proxy
from runai_async._http.aiohttp_transport import AiohttpTransport
from runai_async._http.logged_transport import LoggedTransport
from runai_async._http.messages import Timed, Transport
from runai_async._observe.log import logger
from runai_async._wait.order import newest
from runai_async._wait.phase import FAILED_PHASES, PhaseWait
from runai_async._wait.rollout import RolloutWait
from runai_async._wait.why import Inquiry
from runai_async._watch.cluster_watch import ClusterWatch
from runai_async._watch.poll import Poller
from runai_async._watch.revision_watch import RevisionWatch
from runai_async._watch.tracker import Tracker
from runai_async.checkpoint import Checkpoint, FleetCheckpoint
from runai_async.errors import ConfigurationError, NotFoundError, PermissionDeniedError
from runai_async.explanation import Explanation
from runai_async.hooks import Hook, Hooks
from runai_async.models import Cluster, HistoryRecord, Phase, Pod, Revision, RevisionLogEvent, Workload
from runai_async.policy import PollPolicy, RetryPolicy


def is_inference_type(workload: Workload) -> bool:
    """Return whether a workload's type has "inference" in it, in any case."""
    return "inference" in workload.type.lower()


def workload_query(
    runai: RunaiClient,
    is_included: Callable[[Workload], bool],
    *,
    choose: Choose | None = None,
    filter_by: Sequence[str] = (),
) -> WorkloadQuery:
    """Return a query of some workloads, for the command line.

    Args:
        runai: the client.
        is_included: returns whether a workload is one of them; asked once for each.
        choose: returns which of those that a whole listing named count; all by default.
        filter_by: conditions, as for `RunaiClient.list_workloads`.
    """
    api, left_out = runai._api, runai._left_out  # noqa: SLF001  (a friend)  # pyright: ignore[reportPrivateUsage]
    return WorkloadQuery(
        filter_by=filter_by, is_inference=is_included, api=api, left_out=left_out, choose=choose
    )


def server_time(runai: RunaiClient) -> ServerTime:
    """Return the server's clock as far as a client has learnt it, for the command line."""
    return runai._api.server_time  # noqa: SLF001  (a friend)  # pyright: ignore[reportPrivateUsage]


def _proxies_elsewhere(auth: Auth) -> dict[str, URL | None]:
    """Return the environment's proxy for a token endpoint elsewhere, by that endpoint's host and port."""
    if not isinstance(auth, ClientCredentials) or auth.token_url is None:
        return {}
    url = URL(auth.token_url)
    return {url.authority: environment_proxy(url)}


def _queried(workloads: WorkloadIds) -> WorkloadIds:
    """Return the query for which the bare method stands: a fleet follows that one better than a function."""
    is_method = getattr(workloads, "__func__", None) is RunaiClient.inference_workloads
    return cast(Callable[[], WorkloadQuery], workloads)() if is_method else workloads


class ClientOptions(TypedDict, total=False):
    """The keyword arguments of `RunaiClient`, for code that passes them on.

    Example:
        >>> options: ClientOptions = {"timeout": 10, "max_concurrency": 20}
        >>> runai = RunaiClient("https://acme.run.ai", token, **options)
    """

    session: aiohttp.ClientSession | None
    timeout: float
    retry: RetryPolicy | None
    max_concurrency: int
    max_body: int
    ssl_context: ssl_module.SSLContext | None
    ca_file: str | os.PathLike[str] | None
    proxy: str | URL | None
    trust_env: bool
    allow_http: bool
    hooks: Iterable[Hook]
    clock: Clock | None
    transport: Transport | None


class RunaiClient:
    """A client for the inference workload revisions API of one Run:ai control plane.

    Use it as an async context manager, or await `aclose()`. It belongs to the event loop in which it is first
    used; all tasks of that loop may share it.

    Args:
        base_url: the control plane's URL; a port and a path prefix are allowed. Plain http is for loopback
            only, unless *allow_http*.
        auth: a bearer token, `StaticToken`, `FileToken`, `ClientCredentials`, `CliCredentials`, or a
            `TokenProvider`.
        session: an `aiohttp.ClientSession` of yours; it is used and never closed. It must not add credentials
            of its own.
        timeout: seconds for one attempt, everything in it. The exchange of a token, which all calls share,
            has the same time for itself, and so has the repeat after a 401. The deadline of *retry* covers
            them all.
        retry: when a failed attempt is repeated, and the deadline of a whole call.
        max_concurrency: the maximum number of requests in flight. Further calls wait for a slot, which does
            not count against *timeout*.
        max_body: bytes; a longer response is a `TransportError`. 32 MiB by default.
        ssl_context: used as it is; by default, TLS is verified against the system's authorities.
        ca_file: a PEM file of the authorities to trust instead. If it was replaced when a certificate is
            refused, it is loaded again.
        proxy: an http(s) proxy; by default the environment's (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), if
            *trust_env*.
        trust_env: whether the environment may name a proxy.
        allow_http: whether to allow plain http to any host. The token is then readable on the network.
        hooks: callables that are notified of what happens; see `runai_async.hooks`.
        clock: a clock for tests, such as `runai_async.testing.FakeClock`.
        transport: a transport for tests, such as `runai_async.testing.FakeTransport`.

    Raises:
        ConfigurationError: a client cannot work with these arguments; nothing was sent.

    Example:
        >>> async with RunaiClient("https://acme.run.ai", ClientCredentials("app", "secret")) as runai:
        ...     revisions = await runai.list_revisions(workload_id)
    """

    def __init__(
        self,
        base_url: str | URL,
        auth: Auth,
        *,
        session: aiohttp.ClientSession | None = None,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        max_concurrency: int = 100,
        max_body: int = 32 * 2**20,
        ssl_context: ssl_module.SSLContext | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        proxy: str | URL | None = None,
        trust_env: bool = True,
        allow_http: bool = False,
        hooks: Iterable[Hook] = (),
        clock: Clock | None = None,
        transport: Transport | None = None,
    ) -> None:
        url = check_base_url(base_url, allow_http=allow_http)
        check_client(retry=retry, timeout=timeout, max_concurrency=max_concurrency, max_body=max_body)
        if ssl_context is not None and ca_file is not None:
            raise ConfigurationError("pass ssl_context or ca_file, not both: load the file into the context")
        _codec.prepare()
        clock, called = clock or SystemClock(), Hooks(hooks)
        transport = transport or AiohttpTransport(
            clock,
            session=session,
            max_concurrency=max_concurrency,
            max_body=max_body,
            ssl_context=ssl_context,
            ca_file=None if ca_file is None else Path(ca_file),
            proxy=check_proxy(proxy) if proxy is not None else environment_proxy(url) if trust_env else None,
            proxies=_proxies_elsewhere(auth) if trust_env and proxy is None else None,
        )
        if isinstance(transport, Timed):
            transport.use_clock(clock)
        if logger.is_debugging:
            transport = LoggedTransport(transport, clock)
        tokens = token_source(auth, url, transport, clock, hooks=called, timeout=timeout)
        policy = retry or RetryPolicy()
        # Retrying(Authenticated(AiohttpTransport)): a retry asks for a token again, so it gets a fresh one.
        retrying = Retrying(
            Authenticated(transport, tokens, clock), clock, policy, timeout=timeout, hooks=called
        )
        self._api = Api(Endpoints(url), retrying, clock, called)
        self._clusters = ClusterWatch(self._api)
        self._owns_transport = True
        self._left_out = LeftOut("inference_workloads")

    @classmethod
    def from_env(cls, *, environ: Mapping[str, str] | None = None, **options: Unpack[ClientOptions]) -> Self:
        """Create a client from the environment.

        `RUNAI_BASE_URL` names the control plane. The credentials are the first of these that is
        set: `RUNAI_TOKEN`; `RUNAI_TOKEN_FILE`, the path of a `FileToken`; or `RUNAI_CLIENT_ID` and
        `RUNAI_CLIENT_SECRET`, with the *api* and *token_url* of `ClientCredentials` in `RUNAI_TOKEN_API` and
        `RUNAI_TOKEN_URL`. If the URL or the credentials are missing, the login of the vendor's command line
        (`~/.runai`) provides them. `RUNAI_CA_FILE` names a PEM file of authorities to trust.

        Args:
            environ: variables to read instead of the process's environment.
            options: the keyword arguments of `RunaiClient`, such as `timeout=10`.

        Raises:
            ConfigurationError: something is missing or unusable; the message names it.

        Example:
            >>> async with RunaiClient.from_env(timeout=10) as runai:
            ...     revisions = await runai.list_revisions(workload_id)
        """
        env = os.environ if environ is None else environ
        auth, base_url = auth_from(env), base_url_from(env)
        if (ca_file := env.get("RUNAI_CA_FILE")) and options.get("ssl_context") is None:
            options.setdefault("ca_file", ca_file)
        return cls(base_url, auth, **options)

    @property
    def base_url(self) -> str:
        """The control plane's URL in the spelling that checkpoints keep, without a trailing slash.

        Example:
            >>> RunaiClient("https://ACME.run.ai:443/", token).base_url
            'https://acme.run.ai'
        """
        return self._api.endpoints.normal_url

    def with_options(self, *, timeout: float | None = None, retry: RetryPolicy | None = None) -> Self:
        """Return a copy with another timeout or retry policy.

        It shares the connections, the token and the retry budget, costs next to nothing, and need not be
        closed.

        Args:
            timeout: seconds for one attempt, but not for the exchange of a token, which is shared; None keeps
                the current one.
            retry: when a failed attempt is repeated; None keeps the current policy.

        Raises:
            ConfigurationError: a client cannot work with these arguments.

        Example:
            >>> count = await runai.with_options(retry=RetryPolicy(attempts=1)).count_revisions(workload_id)
        """
        check_client(retry=retry, timeout=1 if timeout is None else timeout)
        other = copy(self)
        retrying = self._api.retrying.with_options(retry, timeout)
        other._api = evolve(self._api, retrying=retrying)  # noqa: SLF001  (our own copy)
        other._owns_transport = False  # noqa: SLF001
        return other

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, but not a session that you passed in. Closing twice is fine."""
        if self._owns_transport:
            await self._api.retrying.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._api.endpoints.base_url}>"

    async def list_revisions(self, workload_id: str | UUID, *, deleted: bool | None = None) -> list[Revision]:
        """List the revisions of an inference workload, in no particular order.

        Args:
            workload_id: a UUID.
            deleted: True for the deleted ones only; otherwise the live ones.

        Raises:
            ValueError: the id is not a UUID; nothing was sent.
            NotFoundError: the workload does not exist, or the account may not see it.
            DecodeError: a revision cannot be decoded; the others are in the error's `.partial`.
            RunaiError: see the tree in `runai_async.errors`.

        Example:
            >>> for revision in await runai.list_revisions(workload_id):
            ...     print(revision.name, revision.phase, revision.running_pods)
            chat-00001 Running 2
        """
        return await self._api.retrying.call(
            self._api.endpoints.list_revisions(check_id(workload_id, "workload_id"), deleted=deleted)
        )

    async def count_revisions(self, workload_id: str | UUID, *, deleted: bool | None = None) -> int:
        """Count the revisions of an inference workload.

        Do not detect changes by it: one created and one deleted cancel out. For a workload that does not
        exist, the API does not promise a 404.

        Args:
            workload_id: a UUID.
            deleted: True for the deleted ones only; otherwise the live ones.

        Raises:
            ValueError: the id is not a UUID; nothing was sent.
            RunaiError: see the tree in `runai_async.errors`.

        Example:
            >>> gone = await runai.count_revisions(workload_id, deleted=True)
            >>> await runai.count_revisions(workload_id), gone
            (1, 0)
        """
        return await self._api.retrying.call(
            self._api.endpoints.count_revisions(check_id(workload_id, "workload_id"), deleted=deleted)
        )

    async def get_revision(self, revision_id: str | UUID) -> Revision:
        """Get one revision, live or deleted.

        Args:
            revision_id: a UUID.

        Raises:
            ValueError: the id is not a UUID; nothing was sent.
            NotFoundError: there is no revision with this id.
            DecodeError: the response is not the revision that was asked for.
            RunaiError: see the tree in `runai_async.errors`.

        Example:
            >>> revision = await runai.get_revision(revision_id)
            >>> revision.name, revision.phase.value, revision.images
            ('chat-00001', 'Running', ('llm:1',))
        """
        return await self._api.retrying.call(
            self._api.endpoints.get_revision(check_id(revision_id, "revision_id"))
        )

    async def newest_revision(self, workload_id: str | UUID) -> Revision | None:
        """Return the live revision that was created last, or None.

        Creation times decide, or, if they are within 30 seconds, the number at the end of the name.

        Args:
            workload_id: a UUID.

        Raises:
            ValueError: the id is not a UUID; nothing was sent.
            RunaiError: as `list_revisions` raises it.

        Example:
            >>> newest = await runai.newest_revision(workload_id)
            >>> newest.name if newest else "none yet"
            'chat-00001'
        """
        revisions = await self.list_revisions(workload_id)
        return newest(revisions)

    def watch_revisions(
        self,
        workload_id: str | UUID,
        *,
        interval: float | None = None,
        poll: PollPolicy | None = None,
        include_existing: bool = True,
        resume_from: Checkpoint | None = None,
        fill_gaps: bool = False,
    ) -> RevisionWatch:
        """Watch the revisions of an inference workload: new revisions, phase changes, deletions.

        Args:
            workload_id: a UUID.
            interval: seconds between polls, at least 0.01; overrides that of *poll*, which is 10.
            poll: how often to poll, and how patient to be.
            include_existing: whether the revisions of the first response are reported. With *resume_from*, it
                changes nothing, unless no first response was delivered before: what the checkpoint has is
                not reported again, and what is new since then is. For the present state, see
                `RevisionWatch.revisions`.
            resume_from: the checkpoint of another watch of this workload, to resume from what it delivered.
            fill_gaps: whether to read from the history which phases were missed between two polls.

        Raises:
            ValueError: the id is not a UUID, the interval is below 0.01 s, or the checkpoint is of another
                workload or control plane. See `RevisionWatch` for what ends the iteration.
            TypeError: an argument has the wrong type.

        Example:
            >>> async for event in runai.watch_revisions(workload_id, interval=10):
            ...     print(event.kind, event.revision.name, event.revision.phase)
            added chat-00001 Running
            added chat-00002 Creating
            phase_changed chat-00002 Running
            deleted chat-00001 Running
            deleted chat-00002 Running
        """
        check_resume(resume_from, Checkpoint)
        check_control_plane(resume_from, self.base_url)
        policy = poll_policy(poll, interval)
        tracker = Tracker(
            check_id(workload_id, "workload_id"),
            include_existing=include_existing,
            emit_updates="updated" in policy.emit,
            stalled_after=policy.stalled_after,
            resume_from=resume_from,
            base_url=self.base_url,
        )
        poller = Poller(self._api, policy, fill_gaps=fill_gaps)
        refusal = resume_from.refusal if resume_from else None
        return RevisionWatch(poller, tracker, self._api, policy, self._clusters, refusal=refusal)

    def watch_fleet(
        self,
        workloads: WorkloadIds,
        *,
        interval: float | None = None,
        poll: PollPolicy | None = None,
        max_concurrency: int = 32,
        rate_limit: float | None = None,
        buffer: int = 1000,
        discovery_interval: float = 60.0,
        include_existing: bool = True,
        resume_from: FleetCheckpoint | None = None,
        fill_gaps: bool = False,
        relaxed_interval: float | None = None,
        shard: tuple[int, int] | None = None,
    ) -> FleetWatch:
        """Watch many workloads as one stream of events.

        Each workload is polled once per interval, at an offset of its own, and a poll is a single attempt:
        the next poll is its retry. What the fleet begins with, and what joins later, is polled for the first
        time within a second, or at 200 workloads a second, as the limits permit; that poll stands for the
        next one at its offset, unless it fails. While ten of the latest twenty polls have failed, first polls
        come at the offsets, too. `PollPolicy.jitter` has no effect here, since the offsets spread the
        polls. After a pause (a full buffer, a blocked event loop), overdue polls are caught up at 1.1 times
        the normal rate, or at one a second; `FleetStatus.lag` says how late they still are.

        Args:
            workloads: workloads or their ids; or a query, such as `runai.inference_workloads(project="chat")`
                or, in short, `runai.inference_workloads`, which the fleet lists again and again; or a
                function of yours that returns an (async) iterable of workloads or ids, a new one each time,
                and is called again and again.
            interval: seconds between polls of one workload, at least 0.01; overrides that of *poll*, which
                is 10.
            poll: how often to poll, and how patient to be.
            max_concurrency: the maximum number of polls in flight; the client's own limit applies, too.
            rate_limit: the maximum number of requests per second; None for no limit.
            buffer: how many events may wait for the consumer before polling pauses.
            discovery_interval: seconds between two listings of *workloads*. It becomes more
                where listing would take more than a tenth of the time, or fails again and again; see
                `FleetStatus.discovery_interval`.
            include_existing: whether the revisions of the first responses are reported. With *resume_from*,
                this concerns only workloads of which no first response was delivered before: of the others,
                what the checkpoint has is not reported again, and what is new since then is. For the present
                state, see `FleetWatch.revisions`.
            resume_from: the checkpoint of another fleet, to resume from what it delivered. Of its workloads,
                those that are no longer listed are watched until their deletions are reported; where
                *workloads* are ids, the others are dropped.
            fill_gaps: whether to read from the history which phases were missed between two polls: up to
                three more requests in a poll that finds a change of phase, within *rate_limit*.
            relaxed_interval: seconds between polls of a workload whose row in the list does not change, at
                least *interval*, if *workloads* is a query; one that equals *interval* is as None. It applies
                while the rows show nearly all changes in time: polls judge that all the time, and one
                workload in twenty, but five at least, is never relaxed for it, also while polls fail.
            shard: which share of the workloads to watch, as (index, count): (0, 4) is the first of four
                fleets, in processes of their own, which together watch all. `shard_of` says which shard a
                workload belongs to. Of *resume_from*, which may be of any number of shards, each takes its
                share. Each lists all workloads, but so seldom that all together do no more than a tenth of
                the time.

        A fleet of a query lists the workloads every *discovery_interval* and polls those early whose row has
        changed, as long as the rows are worth it; `FleetStatus.hints` says whether they are. All polls
        together are no more than the intervals ask for, within 2 %. A query that a function of yours returns
        is listed in the same way, but its rows do not cause early polls.

        With tens of thousands of workloads, Python's garbage collector may stop the event loop for a second
        when it looks at all that is kept of them. In a daemon, call `gc.freeze()` once they have been polled.

        A listed workload joins. One that two listings in a row lack leaves when its polls are 404, or find no
        live revision, so a list with gaps loses nothing. Where a function of yours decides, or a filter names
        what can change, such as a phase, it leaves with its next successful poll.

        Raises:
            ValueError: an id is not a UUID, a number is out of range, the query is of another client, or the
                checkpoint is of another control plane. See `FleetWatch` for what ends the iteration.
            TypeError: an argument has the wrong type; a single id as *workloads*, for one.

        Example:
            >>> async with runai.watch_fleet(runai.inference_workloads, interval=30) as fleet:
            ...     async for event in fleet:
            ...         if isinstance(event, RevisionDeleted):
            ...             print(event.revision.name, "is gone")
            chat-00001 is gone
            chat-00002 is gone
        """
        check_fleet(
            max_concurrency=max_concurrency,
            rate_limit=rate_limit,
            buffer=buffer,
            discovery_interval=discovery_interval,
        )
        check_resume(resume_from, FleetCheckpoint)
        check_control_plane(resume_from, self.base_url)
        policy, workloads = poll_policy(poll, interval), _queried(workloads)
        if isinstance(workloads, WorkloadQuery):
            check_own(workloads, self._api)
        check_relaxed(relaxed_interval, policy.interval, is_query=isinstance(workloads, WorkloadQuery))
        return FleetWatch(
            self._api,
            policy,
            workloads,
            max_concurrency=max_concurrency,
            rate_limit=rate_limit,
            buffer=buffer,
            discovery_interval=discovery_interval,
            include_existing=include_existing,
            resume_from=resume_from,
            fill_gaps=fill_gaps,
            relaxed_interval=relaxed_interval,
            shard=as_shard(shard),
            clusters=self._clusters,
        )

    def inference_workloads(
        self,
        *,
        filter_by: Sequence[str] = (),
        project: str | None = None,
        is_inference: Callable[[Workload], bool] = is_inference_type,
    ) -> WorkloadQuery:
        """Return a query of the inference workloads, to iterate or to give to a fleet.

        A workload that cannot be decoded counts if its id and type can be read. One whose id is not a UUID is
        left out with one warning. Each workload comes once, as with `list_workloads`. A fleet reads the query
        with one attempt per request, since it lists again anyway.

        Args:
            filter_by: further conditions, as for `list_workloads`.
            project: the name of a project, for the workloads of that one only.
            is_inference: returns whether a workload is an inference workload, by what does not change while
                it exists. The API does not document the values of `Workload.type`; by default, every type
                with "inference" in it counts, in any case.

        Raises:
            ValueError: *project* has characters that a condition cannot hold, such as a comma.
            RunaiError: while it is iterated; see the tree in `runai_async.errors`.

        Example:
            >>> of_the_team = runai.inference_workloads(project="team-a")
            >>> [(workload.id, workload.name) async for workload in of_the_team]
            [('5b7ad5a4-4f2c-4c0a-b63b-0d4c1e9f7c11', 'chat')]
        """
        return WorkloadQuery(
            filter_by=filter_by,
            project=project,
            is_inference=is_inference,
            api=self._api,
            left_out=self._left_out,
        )

    async def wait_for_phase(
        self,
        revision_id: str | UUID,
        until: Phase | str | Iterable[Phase | str],
        *,
        fail_on: Phase | str | Iterable[Phase | str] = FAILED_PHASES,
        timeout: float | None = None,
        poll: PollPolicy | None = None,
    ) -> Revision:
        """Wait until a revision is in a phase; if it already is, return at once.

        Args:
            revision_id: a UUID.
            until: the phase, or phases, to wait for; they take precedence over *fail_on*.
            fail_on: the phases that end the wait as a failure.
            timeout: seconds; None waits for ever.
            poll: how often to poll, and how patient to be. With `PollPolicy.stalled_after`, a revision that
                stalls is logged as a warning; the wait goes on.

        Raises:
            ValueError: the id is not a UUID, *until* names no phase, a phase is not one that the API lists,
                or *timeout* is not positive.
            PhaseFailedError: the revision reached a phase of *fail_on*, or was deleted.
            WaitTimeoutError: *timeout* passed; nothing was cancelled.
            NotFoundError: the revision does not exist; believed after `PollPolicy.missing_grace`.
            PermissionDeniedError: the account may not see it; believed after `PollPolicy.missing_grace`, or
                after `max_outage` where it could before.
            AuthenticationError: the credentials were rejected, or the token was refused from the start or for
                `PollPolicy.max_outage` seconds.
            WatchOutageError: there was no successful poll for `PollPolicy.max_outage` seconds.
            DecodeError: the first three responses are not the API's.
            ConfigurationError: the login's files cannot be read at the first attempt.

        Example:
            >>> revision = await runai.wait_for_phase(revision_id, Phase.RUNNING, timeout=600)
        """
        wanted, bad = phases(until, "until"), phases(fail_on, "fail_on")
        if not wanted:
            raise ValueError("until must name at least one phase")
        wait = PhaseWait(
            self._api,
            poll_policy(poll),
            check_id(revision_id, "revision_id"),
            self._clusters,
        )
        return await wait.run(wanted, bad - wanted, check_timeout(timeout))

    async def wait_for_rollout(
        self,
        workload_id: str | UUID,
        *,
        after: str | UUID | None = None,
        timeout: float | None = None,
        poll: PollPolicy | None = None,
    ) -> Revision:
        """Wait until the newest revision of a workload serves: Running, with the pods it requests.

        Args:
            workload_id: a UUID.
            after: the id of the newest revision before the change. Pass it: right after a change the new
                revision is not listed yet, and without *after* the old one would count.
            timeout: seconds; None waits for ever.
            poll: how often to poll, and how patient to be. With `PollPolicy.stalled_after`, it is logged as a
                warning when the newest revision stalls; the wait goes on.

        Raises:
            ValueError: an id is not a UUID, or *timeout* is not positive.
            RolloutFailedError: the newest revision failed, completed or was deleted; or the workload was.
                Its `.explanation`, and that of a timeout, says why, which takes ten seconds at most.
            WaitTimeoutError: *timeout* passed; nothing was cancelled.
            NotFoundError: the workload does not exist; believed after `PollPolicy.missing_grace`. If *after*
                can no longer be read, a revision that the first list lacks counts as newer.
            PermissionDeniedError: the account may not see it; believed after `PollPolicy.missing_grace`, or
                after `max_outage` where it could before.
            AuthenticationError: the credentials were rejected, or the token was refused from the start or for
                `PollPolicy.max_outage` seconds.
            WatchOutageError: there was no successful poll for `PollPolicy.max_outage` seconds.
            DecodeError: the first three responses are not the API's.
            ConfigurationError: the login's files cannot be read at the first attempt.

        Example:
            >>> before = await runai.newest_revision(workload_id)
            >>> ...  # change the workload
            >>> revision = await runai.wait_for_rollout(workload_id, after=before.id, timeout=900)
            >>> revision.name, revision.running_pods
            ('chat-00002', 2)
        """
        seconds = check_timeout(timeout)
        workload = check_id(workload_id, "workload_id")
        policy = evolve(poll_policy(poll), emit=frozenset({"updated"}))
        after_id = None if after is None else check_id(after, "after")
        async with self.watch_revisions(workload, poll=policy) as watch:
            return await RolloutWait(watch, after_id=after_id).run(seconds)

    def list_workloads(
        self, *, filter_by: Sequence[str] = (), deleted: bool | None = None, page_size: int = LONGEST_PAGE
    ) -> AsyncIterator[Workload]:
        """List the workloads of all kinds, page by page, the oldest first where the server can sort them.

        Each comes once. Where workloads that are created or deleted meanwhile move others from page to page,
        the list is read again from its start, up to twice; if rows still move, a warning says so.
        A workload that cannot be decoded is left out; the first one is logged as a warning.

        Args:
            filter_by: conditions such as `"type==inference"` or `"phase!=Stopped"`, all of which must hold:
                a field, one of `== != <= >= =@ !@ =^ =$`, and a value.
            deleted: True for the deleted ones only; otherwise the live ones.
            page_size: items per request, 1 to 500; 1 means 2, since pages overlap by one.

        Raises:
            ValueError: *page_size* is out of range; nothing was sent.
            RunaiError: see the tree in `runai_async.errors`.

        Example:
            >>> async for workload in runai.list_workloads(filter_by=["phase!=Stopped"]):
            ...     print(workload.name, workload.type, workload.phase)
            chat Inference Running
        """
        if not 1 <= page_size <= LONGEST_PAGE:
            raise ValueError(f"page_size must be 1 to {LONGEST_PAGE}, not {page_size}")
        selection = Selection(conditions(filter_by), page_size, deleted)
        return each_once(self._api, selection, LeftOut("list_workloads"))

    def revision_history(self, revision_id: str | UUID) -> AsyncIterator[HistoryRecord]:
        """Read a revision's history (phases and events), page by page, in the API's order.

        A record that cannot be decoded is left out; the first one is logged as a warning.

        Args:
            revision_id: a UUID.

        Raises:
            ValueError: the id is not a UUID; nothing was sent.
            NotFoundError: the revision does not exist, or the control plane lacks this endpoint.
            RunaiError: see the tree in `runai_async.errors`.

        Example:
            >>> async for record in runai.revision_history(revision_id):
            ...     if record.spec.phase_update is not None:
            ...         print(record.meta.creation_timestamp, record.spec.phase_update.phase)
            2026-01-01 00:00:00+00:00 Running
        """
        revision = check_id(revision_id, "revision_id")
        return paged(
            lambda offset: self._api.retrying.call(self._api.endpoints.revision_history(revision, offset)),
            LeftOut("revision_history"),
        )

    def revision_events(
        self, revision_id: str | UUID, *, newest_first: bool = True
    ) -> AsyncIterator[RevisionLogEvent]:
        """Read the events of a revision and its pods in Kubernetes, page by page.

        An event that cannot be decoded is left out; the first one is logged as a warning. Events that come in
        meanwhile move the others from page to page, so with *newest_first* one can come twice.

        Args:
            revision_id: a UUID.
            newest_first: whether the newest event comes first, or the oldest.

        Raises:
            ValueError: the id is not a UUID; nothing was sent.
            NotFoundError: the revision does not exist, or the control plane lacks this endpoint.
            RunaiError: see the tree in `runai_async.errors`.

        Example:
            >>> async for event in runai.revision_events(revision_id):
            ...     if event.is_warning:
            ...         print(event.reason, event.message)
            Unhealthy Readiness probe failed: HTTP 503
        """
        revision, endpoints = check_id(revision_id, "revision_id"), self._api.endpoints
        return paged(
            lambda offset: self._api.retrying.call(
                endpoints.revision_events(revision, offset, newest_first=newest_first)
            ),
            LeftOut("revision_events"),
        )

    async def revision_pods(self, revision_id: str | UUID) -> list[Pod]:
        """List the pods of a revision.

        A pod that cannot be decoded is left out; the first one is logged as a warning.

        Args:
            revision_id: a UUID.

        Raises:
            ValueError: the id is not a UUID; nothing was sent.
            NotFoundError: the revision does not exist, or the control plane lacks this endpoint.
            RunaiError: see the tree in `runai_async.errors`.

        Example:
            >>> for pod in await runai.revision_pods(revision_id):
            ...     print(pod.name, pod.k8s_phase)
            chat-00001-deployment-0 Running
        """
        call = self._api.endpoints.revision_pods(check_id(revision_id, "revision_id"))
        page = paged(lambda _: self._api.retrying.call(call), LeftOut("revision_pods"))
        return [pod async for pod in page]

    async def explain_revision(self, revision_id: str | UUID) -> Explanation:
        """Say why a revision does not serve: its phase, conditions, warnings, pods and cluster.

        Where the events or the pods are refused (403) or missing (404), there is what there is, and
        `Explanation.unread` names them.

        Args:
            revision_id: a UUID.

        Raises:
            ValueError: the id is not a UUID; nothing was sent.
            NotFoundError: there is no revision with this id.
            RunaiError: see the tree in `runai_async.errors`.

        Example:
            >>> explanation = await runai.explain_revision(revision_id)
            >>> print(explanation.cause)
            Unhealthy: Readiness probe failed: HTTP 503
        """
        revision = await self.get_revision(revision_id)
        retrying = self._api.retrying
        inquiry = Inquiry(self._api, self._clusters, retrying, NotFoundError, PermissionDeniedError)
        return await inquiry.explain(revision)

    async def list_clusters(self) -> list[Cluster]:
        """List the clusters. Few roles may do so; `get_cluster` needs less.

        A cluster that cannot be decoded is left out; the first one is logged as a warning.

        Raises:
            PermissionDeniedError: the account may not list clusters.
            RunaiError: see the tree in `runai_async.errors`.

        Example:
            >>> for cluster in await runai.list_clusters():
            ...     print(cluster.name, cluster.state.value)
            cluster-1 Connected
        """
        page = paged(
            lambda _: self._api.retrying.call(self._api.endpoints.list_clusters()), LeftOut("list_clusters")
        )
        return [cluster async for cluster in page]

    async def get_cluster(self, cluster_id: str | UUID) -> Cluster:
        """Get one cluster; without `last_seen_at` where the account may see its minimal form only.

        Args:
            cluster_id: a UUID, such as `Revision.cluster_id`.

        Raises:
            ValueError: the id is not a UUID; nothing was sent.
            NotFoundError: there is no cluster with this id.
            PermissionDeniedError: the account may not see it.
            RunaiError: see the tree in `runai_async.errors`.

        Example:
            >>> cluster = await runai.get_cluster(revision.cluster_id)
            >>> cluster.state.value, cluster.last_seen_at.year
            ('Connected', 2026)
        """
        cluster = check_id(cluster_id, "cluster_id")
        try:
            return await self._api.retrying.call(self._api.endpoints.get_cluster(cluster))
        except (NotFoundError, PermissionDeniedError) as error:
            refusal = error
        try:
            return await self._api.retrying.call(self._api.endpoints.get_cluster(cluster, minimal=True))
        except (NotFoundError, PermissionDeniedError):
            raise refusal from None  # early versions lack the minimal form, so its own 404 says less
