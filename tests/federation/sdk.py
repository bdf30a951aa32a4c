"""Asks a vendor for access with the vendor's own SDK, set up by nothing but the environment of the session.

    sdk.py VENDOR ENDPOINT [ROUNDS SECONDS]: asks ROUNDS times, each time as if nothing had been kept
"""

import os
import sys
import time

vendor, endpoint = sys.argv[1:3]
# The vendors of the test are on this machine, where no session's proxy leads, under an authority of their own.
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]
for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"]:
    os.environ[name] = os.environ["TEST_CA"]
os.environ["AWS_ENDPOINT_URL_STS"] = endpoint
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
rounds, pause = (int(sys.argv[3]), float(sys.argv[4])) if len(sys.argv) > 3 else (1, 0)


def aws():
    import boto3

    # A new session keeps nothing: each asks STS with the token that is in the file then.
    credentials = boto3.Session().get_credentials().get_frozen_credentials()
    assert credentials.token == "session-real", credentials
    return credentials.access_key


def gcp():
    import google.auth
    import google.auth.transport.requests

    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(google.auth.transport.requests.Request())
    return credentials.token


def azure():
    from azure.identity import WorkloadIdentityCredential

    credential = WorkloadIdentityCredential(disable_instance_discovery=True)
    return credential.get_token("https://management.azure.com/.default").token


def anthropic():
    import anthropic

    client = anthropic.Anthropic(base_url=endpoint)
    client.models.list()
    return "listed"


def openai():
    from openai import OpenAI
    from openai.auth import WorkloadIdentityAuth, k8s_service_account_token_provider

    identity = {
        "identity_provider_id": "idp_1",
        "service_account_id": "sa_1",
        "provider": k8s_service_account_token_provider(os.environ["OPENAI_IDENTITY_TOKEN_FILE"]),
    }
    assert OpenAI(workload_identity=identity, base_url=endpoint + "/v1")
    return WorkloadIdentityAuth(workload_identity=identity, token_exchange_url=endpoint + "/oauth/token").get_token()


for number in range(rounds):
    print(vendor, globals()[vendor](), flush=True)
    if number + 1 < rounds:
        time.sleep(pause)
