"""What devices call: enrolment with a claim token, and renewal with a signed request."""

from fastapi import APIRouter, Request

from controller.app import devices
from controller.http import schemas
from controller.http.auth import Context, Device
from controller.http.problems import documented
from controller.http.routes import WRITE

# Devices are no browsers, so a body without a Content-Type cannot be a forged form: it is read as JSON.
router = APIRouter(prefix="/v1", tags=["device"], strict_content_type=False)


@router.post(
    "/enrol",
    status_code=201,
    responses=documented(400, 401, 403, 409, 413, 422, 503),
    summary="Enrol a device",
)
async def enrol_device(c: Context, body: schemas.Enrol, request: Request) -> schemas.Enrolled:
    """Trade a claim token for a certificate, both trust roots, and the address of the MQTT endpoint."""
    enrolment = await devices.enrol(
        c,
        claim=body.token,
        device=body.device,
        model=body.model,
        hardware_id=body.hardware_id,
        csr_pem=body.csr,
        signing_key=body.signing_key,
        sealing_key=body.sealing_key,
    )
    return schemas.Enrolled(
        name=enrolment.name,
        certificate=enrolment.certificate_pem,
        ca_chain=enrolment.chain_pem,
        fleet_root=enrolment.fleet_root,
        release_root=enrolment.release_root,
        mqtt_host=request.app.state.mqtt_host,
        mqtt_port=request.app.state.mqtt_port,
        mqtt_profile=request.app.state.mqtt_profile,
    )


@router.post("/device/renew", responses=WRITE, summary="Renew a device's certificate")
async def renew_certificate(c: Context, device: Device, body: schemas.Renew) -> schemas.Renewed:
    """Return a certificate over a new key."""
    issued = await devices.renew(c, device, csr_pem=body.csr)
    return schemas.Renewed(certificate=issued.certificate_pem, ca_chain=issued.chain_pem)
