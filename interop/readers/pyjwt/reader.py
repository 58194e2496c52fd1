import jwt

keys = jwt.PyJWKClient("https://keys.example.com/t/acme/.well-known/jwks.json", lifespan=300)


def verify(token):
    return jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token).key,
        algorithms=["ES256"],
        issuer="https://keys.example.com/t/acme",
        audience="https://api.example.com",
    )
