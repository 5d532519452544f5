"""Devices by the thousand, enrolled past the API: certificates from the real authority, rows into the real database."""

import time
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from controller.app.ports import IssuedCertificate, Priority
from controller.app.records import DeviceRecord, ReleaseRecord
from controller.app.repositories import Transaction
from controller.config import Settings
from controller.signing.authority import new_key
from controller.signing.installation import read_tenant
from controller.signing.keyfile import to_pem
from controller.signing.keystore import Keystore
from controller.store.sql_store import SqlStore
from protocol.ids import AppName, device_id, digest_of, name_of
from protocol.keys import Ed25519Signing
from protocol.units import Instant
from tests.benchmarks.light import Papers

APP: Final = AppName("shop")
VERSION: Final = "1.0.0"


async def enrol(online: Path, count: int) -> list[Papers]:
    """Write *count* devices and one release into an installation that does not run; return the devices' papers.

    All devices share one TLS key, as a signing request costs more than it tells here; each has its own certificate
    and its own Ed25519 key.
    """
    at = Instant(time.time_ns() // 1_000_000)
    tenant, authority = read_tenant(online), Keystore(online).authority()
    tls = new_key()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(tls, SHA256())
    csr, tls_pem = request.public_bytes(Encoding.PEM).decode(), to_pem(tls)
    papers: list[Papers] = []
    records: list[DeviceRecord] = []
    for number in range(count):
        name = name_of(tenant, device_id(f"d{number:05}"))
        issued, key = authority.issue(csr, name, at=at), Ed25519PrivateKey.generate()
        papers.append(Papers(name, key.private_bytes_raw(), _pem(issued) + tls_pem))
        records.append(_record(papers[-1], issued, at))
    await _store(online, records, at)
    return papers


def _pem(issued: IssuedCertificate) -> bytes:
    return f"{issued.certificate_pem.strip()}\n{issued.chain_pem.strip()}\n".encode()


def _record(papers: Papers, issued: IssuedCertificate, at: Instant) -> DeviceRecord:
    device = device_id(papers.name.partition(":")[2])
    return DeviceRecord(
        device=device,
        name=papers.name,
        model="light",
        hardware_id=device,
        signing_key=Ed25519Signing(Ed25519PrivateKey.from_private_bytes(papers.key)).public,
        sealing_key=bytes(32),
        certificate_serial=issued.serial,
        certificate_expires_at=issued.expires,
        enrolled_at=at,
    )


async def _store(online: Path, records: list[DeviceRecord], at: Instant) -> None:
    release = ReleaseRecord(
        app=APP,
        version=VERSION,
        path=f"{APP}/{VERSION}/{APP}.tar.gz",
        sha256=digest_of(VERSION.encode()),
        length=10_000_000,
        counter=1,
        floor=0,
        installer="archive",
        hardware=(),
        published_at=at,
    )

    def work(tx: Transaction) -> None:
        tx.catalog.add_releases([release])
        for record in records:
            tx.devices.add(record)

    store = SqlStore.open(Settings(folder=online).database_url)
    store.migrate()
    await store.write(work, priority=Priority.OPERATOR)
    store.close()


def write_papers(path: Path, papers: list[Papers]) -> None:
    """Write papers where `tests.benchmarks.clients` reads them."""
    path.write_bytes(msgspec.msgpack.encode(papers))
