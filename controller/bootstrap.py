"""The only place that knows every adapter: builds the controller and runs it until told to stop.

```
uvicorn (HTTP) ─┐
Endpoint (MQTT) ┼─ one event loop ── Controller ── SqlStore (its own threads)
look, pump      ┘                       └ compute: two threads that sign and verify
```
"""

import asyncio
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from typing import Final, TypeVar

import structlog
import uvicorn

from controller.app import metering, tokens, wakeups
from controller.app.access import Actor, Role
from controller.app.controller import Controller
from controller.app.dispatch import Dispatcher
from controller.app.errors import StorageUnavailable
from controller.app.inbox import Inbox
from controller.app.progress import ProgressBoard
from controller.artifacts.folder import ArtifactFolder
from controller.clock import SystemChance, SystemClock
from controller.config import Settings
from controller.edge.endpoint import Endpoint
from controller.http.app import create_app
from controller.observe import Meters, set_up_logs
from controller.signing.installation import read_tenant
from controller.signing.keyfile import PRIVATE, read_private, write_file
from controller.signing.keystore import Keystore
from controller.store.sql_store import SqlStore
from protocol.ids import TenantId
from protocol.messages import RootVersions
from protocol.trust import parse_root
from protocol.units import DAY, HOUR, Millis, later

log = structlog.get_logger()

T = TypeVar("T")

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a computing thread may keep the interpreter: at the default of 5 ms, signing beside a busy loop starves."""

COMPUTE_THREADS: Final = 2
INSTANCE_BYTES: Final = 4
RENEW_BEFORE_MS: Final = Millis(30 * DAY)
SETUP: Final = Actor(name="setup", role=Role.ADMIN)


class Threads:
    """Work that only computes, on a few threads; cryptography lets go of the interpreter while it signs."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(COMPUTE_THREADS, thread_name_prefix="compute")

    async def run(self, work: Callable[[], T]) -> T:
        """Return what *work* returns."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """End the threads once they are idle."""
        self._pool.shutdown()


class HttpServer(uvicorn.Server):
    """uvicorn, told by us when to stop: left to itself it raises the signal again before the rest has stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `_run`."""
        yield


def serve(settings: Settings) -> None:
    """Run the controller until SIGTERM or SIGINT.

    Raises:
        controller.app.errors.ControllerError: when a key is missing or broken, or a port is taken.
    """
    set_up_logs(as_json=settings.log_format == "json", level=settings.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        keystore = Keystore(settings.folder)
        tenant = read_tenant(settings.folder)
        store = SqlStore.open(settings.database_url)
        stack.callback(store.close)
        store.migrate()
        chance = SystemChance()
        inbox = Inbox()
        mqtt_context = keystore.server_context()
        endpoint = Endpoint(
            inbox,
            tenant=tenant,
            context=mqtt_context,
            instance=1 + int(chance.token(INSTANCE_BYTES), 16),
        )
        mqtt_port = endpoint.listen(settings.mqtt_host, settings.mqtt_port)[0][1]
        threads = Threads()
        stack.callback(threads.close)
        controller = _controller(settings, keystore, tenant, store=store, endpoint=endpoint, threads=threads)
        inbox.open(controller)
        await _first_administrator(settings, controller)
        await wakeups.recover(controller)
        server = _http_server(settings, controller, mqtt_port=mqtt_port)

        async def renew() -> None:
            await _renew_server(keystore, controller, lambda: (mqtt_context, server.config.ssl))

        await _run(controller, endpoint, server, renew=renew)


def _controller(
    settings: Settings, keystore: Keystore, tenant: TenantId, *, store: SqlStore, endpoint: Endpoint, threads: Threads
) -> Controller:
    clock, meters = SystemClock(), Meters()
    fleet_root, release_root = keystore.fleet_root(), keystore.release_root()
    dispatcher = Dispatcher(
        store=store, transport=endpoint, director=keystore.director(), clock=clock, compute=threads, meters=meters
    )
    return Controller(
        tenant=tenant,
        store=store,
        clock=clock,
        chance=SystemChance(),
        compute=threads,
        transport=endpoint,
        artifacts=ArtifactFolder(settings.artifact_folder),
        authority=keystore.authority(),
        time_key=keystore.time(),
        fleet_root=fleet_root,
        release_root=release_root,
        roots=RootVersions(
            fleet=parse_root(fleet_root).signed.version, release=parse_root(release_root).signed.version
        ),
        base_url=f"https://{settings.public_host}:{settings.http_port}",
        dispatcher=dispatcher,
        progress=ProgressBoard(),
        meters=meters,
    )


async def _first_administrator(settings: Settings, controller: Controller) -> None:
    """Make the first administrator's token, kept in the installation's folder for whoever may read that."""
    path = settings.admin_token_file
    if not path.exists():
        secret = tokens.TOKEN_PREFIX + controller.chance.token(tokens.SECRET_BYTES)
        write_file(path, secret.encode() + b"\n", mode=PRIVATE)
    secret = read_private(path).decode().strip()
    await tokens.adopt(controller, SETUP, name="admin", role=Role.ADMIN, secret=secret)


async def _run(
    controller: Controller, endpoint: Endpoint, server: uvicorn.Server, *, renew: Callable[[], Awaitable[None]]
) -> None:
    loops = {
        "wakeups": lambda: wakeups.run_for_ever(controller),
        "pump": lambda: _pump(controller),
        "metering": lambda: metering.run_for_ever(controller),
        "renewal": renew,
    }
    async with asyncio.TaskGroup() as tasks:
        background = [tasks.create_task(_supervise(name, loop)) for name, loop in loops.items()]
        endpoint_task = tasks.create_task(endpoint.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _stop, server)
        log.info("controller_started", tenant=controller.tenant, http_port=server.config.port)
        await server.serve()
        await endpoint.stop()
        await endpoint_task
        for task in background:
            task.cancel()
    log.info("controller_stopped")


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True


def _http_server(settings: Settings, controller: Controller, *, mqtt_port: int) -> uvicorn.Server:
    app = create_app(
        controller,
        mqtt_host=settings.public_host,
        mqtt_port=mqtt_port,
        metrics=controller.meters.render,
        downloads_in_flight_max=settings.downloads_in_flight_max,
    )
    folder = Keystore(settings.folder).folder
    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        ssl_certfile=str(folder / "server.pem"),
        ssl_keyfile=str(folder / "server.pem"),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    return HttpServer(config)


async def _renew_server(
    keystore: Keystore, controller: Controller, contexts: Callable[[], tuple[ssl.SSLContext | None, ...]]
) -> None:
    """Renew the controller's own certificate in time; connections from then on see the new one."""
    clock = controller.clock
    while True:
        if keystore.server_expires() - clock.now() < RENEW_BEFORE_MS:
            keystore.renew_server(keystore.server_hosts(), at=clock.now())
            for context in contexts():
                if context is not None:
                    keystore.refresh(context)
            log.info("server_certificate_renewed")
        await clock.pause_until(later(clock.now(), HOUR))


async def _pump(controller: Controller) -> None:
    """Send what commits leave to be sent, as soon as it is there."""
    kicked = asyncio.Event()
    controller.dispatcher.on_kick = kicked.set
    while True:
        await kicked.wait()
        kicked.clear()
        await controller.dispatcher.pump()


async def _supervise(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run one of our endless loops; an error in it is logged and counted, and the loop begins again."""
    while True:
        try:
            await loop()
        except StorageUnavailable as error:
            log.warning("loop_waits", loop=name, reason=str(error))
        except Exception:
            log.exception("loop_failed", loop=name)
        await asyncio.sleep(1)
