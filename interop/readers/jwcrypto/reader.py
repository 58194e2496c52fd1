import json
import time
import urllib.request

from jwcrypto import jwk, jws, jwt

keys, fetched = {}, 0


def find_key(kid):
    global keys, fetched
    if kid not in keys or time.monotonic() - fetched > 300:
        with urllib.request.urlopen("https://keys.example.com/t/acme/.well-known/jwks.json", timeout=5) as answer:
            keys, fetched = {key["kid"]: key for key in json.load(answer)["keys"]}, time.monotonic()
    # One key at a time: JWKSet.from_json raises if any key has an unknown type.
    return jwk.JWK(**keys[kid])


def verify(token):
    unverified = jws.JWS()
    unverified.deserialize(token)
    verified = jwt.JWT(
        jwt=token,
        key=find_key(unverified.jose_header["kid"]),
        algs=["ES256"],
        check_claims={"iss": "https://keys.example.com/t/acme", "aud": "https://api.example.com", "exp": None},
    )
    return json.loads(verified.claims)
