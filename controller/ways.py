"""The way to devices that the settings choose: the built-in endpoint, or an external broker."""

import ssl
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog
from prometheus_client.registry import Collector

from controller.address import Place
from controller.app.ports import Chance, Clock, Inbox
from controller.config import Settings
from controller.edge.endpoint import Endpoint
from controller.edge.limits import Limits
from controller.edge.metrics import EndpointMetrics
from controller.mqtt.broker import Broker
from controller.mqtt.metrics import BrokerMetrics
from controller.signing.keystore import Keystore
from protocol.ids import TenantId
from protocol.profiles import Profile

INSTANCE_BYTES: Final = 4

log = structlog.get_logger()


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A transport, and what others need to know of it.

    Args:
        transport: carries messages once it runs.
        devices: where devices reach it.
        profile: how they speak MQTT there.
        metrics: what it counted.
        context: the TLS context that shows the controller's own certificate, where it serves with one.
        faults: returns what keeps devices from being reached, in words.
    """

    transport: Endpoint | Broker
    devices: Place
    profile: Profile
    metrics: Collector
    context: ssl.SSLContext | None
    faults: Callable[[], Sequence[str]]


def choose(
    settings: Settings,
    keystore: Keystore,
    inbox: Inbox,
    *,
    tenant: TenantId,
    chance: Chance,
    clock: Clock,
    may_hold: Callable[[], bool],
) -> Way:
    """Return the way that *settings* name; the endpoint listens already, a broker is not connected to yet.

    Args:
        settings: of the controller.
        keystore: the installation's keys.
        inbox: where messages go.
        tenant: whose devices may come.
        chance: where the number of this life of the transport comes from, and the spread of reconnects.
        clock: tells when certificates begin.
        may_hold: says whether this process is still the controller of its installation.

    Raises:
        controller.app.errors.ControllerError: when an address is taken, or a key or certificate is missing or broken.
    """
    instance = 1 + int(chance.token(INSTANCE_BYTES), 16)
    if settings.broker is None:
        return _endpoint(settings, keystore, inbox, tenant=tenant, instance=instance)
    address, devices = settings.broker, settings.devices_at_broker
    if not address.is_tls:
        log.warning("broker_without_tls", host=address.host, consequence="whoever is in between reads and sends")
    else:
        keystore.broker_context(settings.broker_ca, at=clock.now())  # for its errors: they would be met much later
    broker = Broker(
        inbox,
        tenant=tenant,
        address=address,
        profile=settings.broker_profile,
        new_context=lambda: keystore.broker_context(settings.broker_ca, at=clock.now()),
        instance=instance,
        chance=chance,
        may_hold=may_hold,
    )
    return Way(
        transport=broker,
        devices=devices,
        profile=settings.broker_profile,
        metrics=BrokerMetrics(broker),
        context=None,
        faults=lambda: broker.faults,
    )


def _endpoint(settings: Settings, keystore: Keystore, inbox: Inbox, *, tenant: TenantId, instance: int) -> Way:
    context, limits = keystore.server_context(), Limits(keepalive_s=settings.mqtt_keepalive_s)
    endpoint = Endpoint(inbox, tenant=tenant, context=context, instance=instance, limits=limits)
    port = endpoint.listen(settings.mqtt_host, settings.mqtt_port)[0][1]
    return Way(
        transport=endpoint,
        devices=Place(settings.public_host, port),
        profile=Profile.MQTT5,
        metrics=EndpointMetrics(endpoint),
        context=context,
        faults=tuple,
    )
