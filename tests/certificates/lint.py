"""Every certificate of a folder, read by pkilint after RFC 5280: what it finds, and in how many.

`lint.py FOLDER` prints one JSON object: how many certificates there were, and for each code of a finding in how many, and
one message of it. Findings of all severities count.
"""

import collections
import json
import sys
from pathlib import Path

from pkilint import loader
from pkilint.pkix import certificate, extension, name


def main() -> None:
    container = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
    files = sorted(Path(sys.argv[1]).glob("*.der"))
    found: collections.Counter = collections.Counter()
    messages = {}
    for file in files:
        document = loader.RFC5280CertificateDocumentLoader().load_der_document(file.read_bytes(), file.name)
        codes = {}
        for result in container.validate(document.root):
            for one in result.finding_descriptions:
                codes[one.finding.code] = f"{one.finding.severity.name}: {one.message}"
        found.update(codes.keys())
        messages.update(codes)
    print(json.dumps({"certificates": len(files), "found": {code: [found[code], messages[code]] for code in found}}))


main()
