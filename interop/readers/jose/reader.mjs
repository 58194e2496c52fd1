import { createRemoteJWKSet, jwtVerify } from "jose";

const keys = createRemoteJWKSet(new URL("https://keys.example.com/t/acme/.well-known/jwks.json"));

export async function verify(token) {
  const { payload } = await jwtVerify(token, keys, {
    issuer: "https://keys.example.com/t/acme",
    audience: "https://api.example.com",
    algorithms: ["ES256"],
    requiredClaims: ["exp"],
  });
  return payload;
}
