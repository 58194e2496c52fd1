import json
import time
import urllib.request

from authlib.jose import JsonWebKey, JsonWebToken

jwt = JsonWebToken(["ES256"])
claims_options = {
    "iss": {"essential": True, "value": "https://keys.example.com/t/acme"},
    "aud": {"essential": True, "value": "https://api.example.com"},
    "exp": {"essential": True},
}
keys, fetched = {}, 0


def find_key(header, payload):
    global keys, fetched
    kid = header["kid"]
    if kid not in keys or time.monotonic() - fetched > 300:
        with urllib.request.urlopen("https://keys.example.com/t/acme/.well-known/jwks.json", timeout=5) as answer:
            keys, fetched = {key["kid"]: key for key in json.load(answer)["keys"]}, time.monotonic()
    # One key at a time: import_key_set raises if any key has an unknown type.
    return JsonWebKey.import_key(keys[kid])


def verify(token):
    claims = jwt.decode(token, find_key, claims_options=claims_options)
    claims.validate()
    return claims
