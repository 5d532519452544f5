"""The only place that knows every adapter: builds the controller and has it run.

```
uvicorn (HTTP)            ─┐
Endpoint or Broker (MQTT) ─┼─ one event loop ── Controller ── SqlStore (its own threads)
look, pump                ─┘                       └ compute: two threads that sign and verify
```
"""

import asyncio
import gc
import ssl
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from itertools import chain
from typing import Final, TypeVar

import uvicorn

from controller import serving, ways
from controller.app import tokens, wakeups
from controller.app.access import Actor, Role
from controller.app.controller import Controller
from controller.app.dispatch import Dispatcher
from controller.app.inbox import Inbox
from controller.app.progress import ProgressBoard
from controller.artifacts.folder import ArtifactFolder
from controller.checks.asker import HttpAsker
from controller.checks.reach import Reach
from controller.clock import SystemChance, SystemClock
from controller.config import Settings
from controller.documents import resolve
from controller.edge.acceptor import listen
from controller.http.app import create_app
from controller.observe import Meters, set_up_logs
from controller.serving import HttpServer
from controller.signing.installation import read_tenant
from controller.signing.keyfile import PRIVATE, read_private, write_file
from controller.signing.keystore import SERVER_KEY, Keystore
from controller.store.sql_store import SqlStore
from controller.ways import Way
from protocol.ids import TenantId
from protocol.messages import RootVersions
from protocol.trust import parse_root

S = TypeVar("S")
T = TypeVar("T")

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a computing thread may keep the interpreter: at the default of 5 ms, signing beside a busy loop starves."""

COMPUTE_THREADS: Final = 2
SHARE_MIN: Final = 8
"""The fewest items that are worth waking another thread for: a signature takes some 30 microseconds, a thread 50."""
HOOK_KEY_BYTES: Final = 32
HTTP_BACKLOG: Final = 512
GRACEFUL_S: Final = 5
SETUP: Final = Actor(name="setup", role=Role.ADMIN)


class Threads:
    """Work that only computes, on a few threads; cryptography lets go of the interpreter while it signs."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(COMPUTE_THREADS, thread_name_prefix="compute")

    async def run(self, work: Callable[[], T]) -> T:
        """Return what *work* returns."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def map(self, work: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """Return what *work* returns for each of *items*, in their order; each thread takes an equal share."""
        size = max(SHARE_MIN, -(-len(items) // COMPUTE_THREADS))
        shares = [items[start : start + size] for start in range(0, len(items), size)]
        done = await asyncio.gather(*(self.run(partial(_each, work, share)) for share in shares))
        return list(chain.from_iterable(done))

    def close(self) -> None:
        """End the threads once they are idle."""
        self._pool.shutdown()


def _each(work: Callable[[S], T], items: Sequence[S]) -> list[T]:
    return [work(item) for item in items]


def serve(settings: Settings) -> None:
    """Run the controller until SIGTERM or SIGINT.

    Raises:
        controller.app.errors.ControllerError: when there is no installation, a key is broken, a port is taken, or
            another controller runs on the same folder.
    """
    set_up_logs(as_json=settings.log_format == "json", level=settings.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        keystore = Keystore(settings.folder)
        tenant = read_tenant(settings.folder)
        may_hold = stack.enter_context(serving.sole_controller(settings.folder))
        store = SqlStore.open(settings.database_url)
        stack.callback(store.close)
        store.migrate()
        threads = Threads()
        stack.callback(threads.close)
        inbox = Inbox()
        way = ways.choose(
            settings, keystore, inbox, tenant=tenant, chance=SystemChance(), clock=SystemClock(), may_hold=may_hold
        )
        listeners = listen(settings.http_host, settings.http_port, backlog=HTTP_BACKLOG, service="HTTP")
        for listener in listeners:
            stack.callback(listener.close)
        url = f"https://{settings.public_host}:{listeners[0].getsockname()[1]}"
        controller = _controller(settings, keystore, tenant, store=store, way=way, threads=threads, url=url)
        controller.meters.registry.register(way.metrics)
        inbox.open(controller)
        await _first_administrator(settings, controller)
        await wakeups.recover(controller)
        server = _http_server(settings, controller, way)
        asker = _asker(settings)
        stack.push_async_callback(asker.close)

        def contexts() -> tuple[ssl.SSLContext | None, ...]:
            return way.context, server.config.ssl

        async def renew() -> None:
            await serving.renew_server(keystore, controller, contexts)

        gc.freeze()  # what is loaded by now stays: a full collection would stop everything for 0.1 s to walk it
        await serving.run(controller, way.transport, server, listeners=listeners, renew=renew, asker=asker)


def _controller(
    settings: Settings,
    keystore: Keystore,
    tenant: TenantId,
    *,
    store: SqlStore,
    way: Way,
    threads: Threads,
    url: str,
) -> Controller:
    clock, meters = SystemClock(), Meters()
    fleet_root, release_root = keystore.fleet_root(), keystore.release_root()
    roots = RootVersions(fleet=parse_root(fleet_root).signed.version, release=parse_root(release_root).signed.version)
    dispatcher = Dispatcher(
        store=store, transport=way.transport, director=keystore.director(), clock=clock, compute=threads, meters=meters
    )
    return Controller(
        tenant=tenant,
        store=store,
        clock=clock,
        chance=SystemChance(),
        compute=threads,
        transport=way.transport,
        artifacts=ArtifactFolder(settings.artifact_folder),
        authority=keystore.authority(),
        time_key=keystore.time(),
        fleet_root=fleet_root,
        release_root=release_root,
        roots=roots,
        base_url=url,
        dispatcher=dispatcher,
        progress=ProgressBoard(),
        meters=meters,
        resolve=resolve,
        hook_key=_hook_key(settings),
    )


def _hook_key(settings: Settings) -> bytes:
    """Return what the secrets of hooks are derived from, made by the first controller that needs it."""
    path = settings.hook_key_file
    if not path.exists():
        write_file(path, SystemChance().token(HOOK_KEY_BYTES).encode() + b"\n", mode=PRIVATE)
    return bytes.fromhex(read_private(path).decode().strip())


def _asker(settings: Settings) -> HttpAsker:
    tls = ssl.create_default_context(cafile=settings.check_ca)
    return HttpAsker(Reach(settings.networks_of_checks), tls, allows_plain=settings.check_plain_http)


async def _first_administrator(settings: Settings, controller: Controller) -> None:
    """Make the first administrator's token, kept in the installation's folder for whoever may read that."""
    path = settings.admin_token_file
    if not path.exists():
        secret = tokens.TOKEN_PREFIX + controller.chance.token(tokens.SECRET_BYTES)
        write_file(path, secret.encode() + b"\n", mode=PRIVATE)
    secret = read_private(path).decode().strip()
    await tokens.adopt(controller, SETUP, name="admin", role=Role.ADMIN, secret=secret)


def _http_server(settings: Settings, controller: Controller, way: Way) -> HttpServer:
    app = create_app(
        controller,
        mqtt_host=way.devices.host,
        mqtt_port=way.devices.port,
        mqtt_profile=way.profile,
        transport_faults=way.faults,
        metrics=controller.meters.render,
        downloads_in_flight_max=settings.downloads_in_flight_max,
    )
    key = str(settings.folder / SERVER_KEY)
    config = uvicorn.Config(
        app,
        ssl_certfile=key,
        ssl_keyfile=key,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACEFUL_S,
    )
    return HttpServer(config)
