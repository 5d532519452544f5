"""The folder of the controller's online keys, as the running controller reads it.

```
director.pem  time.pem             sign commands; answer hellos
ca.pem  ca.crt                     issue device certificates
server.pem  server.crt             are the controller itself, for MQTT and HTTPS
fleet-root.json  release-root.json what devices pin
tenant                             whose installation this is
```

``server.pem`` holds key *and* certificate, so that a renewal replaces both in one rename; ``server.crt`` is a copy
for people.
"""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from controller.app.errors import InvalidRequest
from controller.signing.authority import Authority, ServerCertificate
from controller.signing.keyfile import PRIVATE, read_ed25519, read_file, read_p256, read_private, write_file
from controller.signing.roots import keyid_of
from controller.signing.tls import client_context, server_context
from protocol.keys import Ed25519Signing
from protocol.trust import DIRECTOR, TIME, FleetRole, instant_of
from protocol.units import Instant

DIRECTOR_KEY: Final = "director.pem"
TIME_KEY: Final = "time.pem"
CA_KEY: Final = "ca.pem"
CA_CERTIFICATE: Final = "ca.crt"
SERVER_KEY: Final = "server.pem"
SERVER_CERTIFICATE: Final = "server.crt"
FLEET_ROOT: Final = "fleet-root.json"
RELEASE_ROOT: Final = "release-root.json"


class Keystore:
    """The online keys in *folder*; *password* opens ``director.pem``, ``time.pem`` and ``ca.pem`` where they have one.

    Every method reads the file anew, so a replaced key counts from the next call on. All of them raise `NotFound`
    when a file is missing and `InvalidRequest` when it does not hold what it should.
    """

    def __init__(self, folder: Path, *, password: bytes | None = None) -> None:
        self.folder: Final = folder
        self._password = password

    def director(self) -> Ed25519Signing:
        """Return the key that signs commands, under the id that the fleet root gives it."""
        return self._online(DIRECTOR_KEY, DIRECTOR)

    def time(self) -> Ed25519Signing:
        """Return the key that signs hello replies and acknowledgements."""
        return self._online(TIME_KEY, TIME)

    def _online(self, file: str, role: FleetRole) -> Ed25519Signing:
        key = read_ed25519(self.folder / file, password=self._password)
        return Ed25519Signing(key, keyid=keyid_of(self.fleet_root(), role, key.public_key()))

    def fleet_root(self) -> bytes:
        """Return the newest fleet root."""
        return read_file(self.folder / FLEET_ROOT)

    def release_root(self) -> bytes:
        """Return the newest release root."""
        return read_file(self.folder / RELEASE_ROOT)

    def authority(self) -> Authority:
        """Return the certificate authority."""
        key = read_p256(self.folder / CA_KEY, password=self._password)
        return Authority.from_pem(read_file(self.folder / CA_CERTIFICATE), key)

    def server_context(self, *, require_client: bool = True) -> ssl.SSLContext:
        """Return the TLS context of the MQTT endpoint, or of HTTPS where clients need no certificate."""
        server = self.folder / SERVER_KEY
        read_private(server)  # for its check of the mode
        ca = self.folder / CA_CERTIFICATE if require_client else None
        return server_context(certificate=server, key=server, ca=ca, require_client=require_client)

    def broker_context(self, ca: Path | None = None, *, at: Instant) -> ssl.SSLContext:
        """Return the TLS context of one connection to a broker, with a client certificate made for it alone.

        Args:
            ca: the CA that the broker's certificate must come from; without one, the installation's own.
            at: now.
        """
        client = self.authority().broker_client_certificate(at=at)
        trusted = ca or self.folder / CA_CERTIFICATE
        read_file(trusted)  # for its errors
        try:
            return client_context(ca=trusted, certificate_pem=client.certificate_pem, key_pem=client.key_pem)
        except ssl.SSLError as error:
            raise InvalidRequest(f"{trusted}: expected the broker's CA in PEM: {error}") from error

    def server_expires(self) -> Instant:
        """Return when the controller's own certificate ends; renew it at two thirds of its span."""
        return instant_of(self._server_certificate().not_valid_after_utc)

    def server_hosts(self) -> tuple[str, ...]:
        """Return the names and addresses that the controller's own certificate is for."""
        extension = self._server_certificate().extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return tuple(str(name.value) for name in extension.value)

    def _server_certificate(self) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(read_private(self.folder / SERVER_KEY))
        except (ValueError, x509.InvalidVersion) as error:
            raise InvalidRequest(f"{self.folder / SERVER_KEY}: expected a certificate in PEM: {error}") from error

    def renew_server(self, hosts: Sequence[str], *, at: Instant) -> None:
        """Replace the controller's own certificate and key; `refresh` brings them into a context in use."""
        write_server(self.folder, self.authority().server_certificate(hosts, at=at), overwrite=True)

    def refresh(self, context: ssl.SSLContext) -> None:
        """Let the connections that *context* accepts from now on see the newest certificate."""
        context.load_cert_chain(self.folder / SERVER_KEY)


def write_server(folder: Path, server: ServerCertificate, *, overwrite: bool = False) -> None:
    """Write the controller's own certificate and key."""
    both = server.key_pem + server.certificate_pem
    write_file(folder / SERVER_KEY, both, mode=PRIVATE, overwrite=overwrite)
    write_file(folder / SERVER_CERTIFICATE, server.certificate_pem, overwrite=overwrite)
