import { promisify } from "node:util";
import jwt from "jsonwebtoken";
import jwksRsa from "jwks-rsa";

const keys = jwksRsa({ jwksUri: "https://keys.example.com/t/acme/.well-known/jwks.json" });
const findKey = ({ kid }, done) => keys.getSigningKey(kid).then((key) => done(null, key.getPublicKey()), done);

export function verify(token) {
  return promisify(jwt.verify)(token, findKey, {
    issuer: "https://keys.example.com/t/acme",
    audience: "https://api.example.com",
    algorithms: ["ES256"],
  });
}
