"""Put the agent of a device together from its settings; nothing else knows all parts."""

from collections.abc import Callable

from agent.clock import boottime_ms, new_incarnation
from agent.config import Config
from agent.connection import Settings
from agent.core.events import Ailed
from agent.core.model import Profile
from agent.enrol import renew
from agent.facts import AGENT_VERSION, CAPABILITIES, boot_id, facts
from agent.fetch import Fetcher, Limits
from agent.https import Https
from agent.https import Identity as Caller
from agent.identity import Enrolment, Identity
from agent.installers.archive import ArchiveInstaller
from agent.installers.port import Installer
from agent.installers.service import Services
from agent.journal import SqliteJournal
from agent.loop import Loop, Ports
from agent.mqtt import Link
from agent.runtime import Runtime
from agent.steps import Steps
from agent.trust import TrustStore
from protocol.health import Mark
from protocol.ids import AppName, Name
from protocol.units import Instant


class Agent:
    """All parts of a running agent."""

    def __init__(
        self,
        loop: Loop,
        link: Link,
        steps: Steps,
        installers: dict[str, Installer],
        name: Name,
        *,
        close: Callable[[], None],
    ) -> None:
        self.loop = loop
        self.name = name
        self._link = link
        self._steps = steps
        self._installers = installers
        self._close = close

    def run(self) -> None:
        """Run until the loop is stopped, then end in good order."""
        for installer in self._installers.values():
            installer.start()
        try:
            self.loop.run(self._link, self._steps)
        finally:
            for installer in self._installers.values():
                installer.stop()
            self._close()


def assemble(config: Config) -> Agent:
    """Return the agent of these settings, not yet running.

    Raises:
        ConfigError: when the device is not enrolled, or its papers are broken.
        JournalCorrupt: when the journal cannot be read.
        StorageError: when it cannot be made.
    """
    identity = Identity(config.state / "identity")
    enrolment = identity.enrolment()
    store = TrustStore(
        fleet_root=identity.fleet_root,
        release_root=identity.release_root,
        releases=config.state / "releases.json",
    )
    journal = SqliteJournal(config.state / "journal.db")
    runtime = _runtime(journal, identity, enrolment, store)

    def now() -> Instant:
        return runtime.state.now(boottime_ms()) or Instant(0)

    caller = Caller(name=enrolment.name, signer=identity.signer(), now=now)
    https = Https(enrolment.controller, identity.ca, identity=caller)
    ports = Ports(
        refresh=lambda at, version_min: store.refresh(https, at=at, version_min=version_min),
        renew=lambda: renew(https, identity, enrolment.name),
        renewal_due_ms=identity.renewal_due_ms,
    )
    loop = Loop(runtime, ports, boot=boot_id(), facts_of=lambda: facts(config.state, model=enrolment.model))
    settings = Settings(
        host=enrolment.mqtt_host,
        port=enrolment.mqtt_port,
        name=enrolment.name,
        ca=identity.ca,
        device_pem=identity.device_pem,
        profile=enrolment.mqtt_profile,
    )
    link = Link(settings, loop.tell, spread_ms=loop.spread_ms)
    installers = _installers(config, loop)
    steps = Steps(_fetcher(config, https), installers, loop.tell)
    return Agent(loop, link, steps, installers=installers, name=enrolment.name, close=journal.close)


def _runtime(journal: SqliteJournal, identity: Identity, enrolment: Enrolment, store: TrustStore) -> Runtime:
    durable, _rows = journal.load()
    floor = durable.time_floor if durable else Instant(0)
    trust = store.load(at=floor, version_min=durable.release_version if durable else 0)
    profile = Profile(
        model=enrolment.model,
        agent=AGENT_VERSION,
        installers=frozenset({"archive"}),
        capabilities=CAPABILITIES,
    )
    return Runtime(
        journal=journal,
        signer=identity.signer(),
        trust=trust,
        profile=profile,
        name=enrolment.name,
        incarnation=new_incarnation(),
    )


def _installers(config: Config, loop: Loop) -> dict[str, Installer]:
    def ail(app: AppName, mark: Mark, count: int, detail: str) -> None:
        loop.tell(Ailed(at=boottime_ms(), app=app, mark=mark, count=count, detail=detail))

    services = Services(ports=config.ports, keep_running=config.keep_services, ail=ail)
    archive = ArchiveInstaller(
        config.apps,
        services,
        keep=config.keep_versions,
        bytes_max=config.app_bytes_max,
        lock_wait_ms=config.lock_wait_ms,
    )
    return {"archive": archive}


def _fetcher(config: Config, https: Https) -> Fetcher:
    limits = Limits(
        cache_bytes_max=config.cache_bytes_max,
        reserve_bytes=config.disk_reserve_bytes,
        rate_bytes_min=config.rate_bytes_min,
    )
    return Fetcher(https, config.state / "cache", limits)
