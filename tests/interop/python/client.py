"""py-spiffe against avouch's Workload API: fetch, watch through a rotation, validate a JWT-SVID.

Prints one word and one value per line; the test that starts it compares them.
"""

import sys
import threading

from spiffe import JwtSource, WorkloadApiClient, X509Source
from spiffe.errors import PySpiffeError

AUDIENCE = "interop.example.test"


def main() -> None:
    seconds = float(sys.argv[1])
    with X509Source(timeout_in_seconds=seconds) as source:
        first = source.svid
        print("id", first.spiffe_id, flush=True)
        print("first", first.leaf.serial_number, flush=True)
        bundle = source.get_bundle_for_trust_domain(first.spiffe_id.trust_domain)
        print("authorities", len(bundle.x509_authorities), flush=True)

        rotated = threading.Event()
        source.subscribe_for_updates(
            lambda: rotated.set() if source.svid.leaf.serial_number != first.leaf.serial_number else None
        )
        if not rotated.wait(seconds):
            sys.exit("no rotation was seen")
        print("second", source.svid.leaf.serial_number, flush=True)

    with JwtSource(timeout_in_seconds=seconds) as source:
        token = source.fetch_svid(audience={AUDIENCE}).token
    with WorkloadApiClient() as client:
        print("jwt", client.validate_jwt_svid(token=token, audience=AUDIENCE).spiffe_id, flush=True)
        try:
            client.validate_jwt_svid(token=token, audience="other.example.test")
        except PySpiffeError:
            print("foreign-audience", "refused", flush=True)


main()
