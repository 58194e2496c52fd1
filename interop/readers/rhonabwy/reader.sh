fetch() { curl -fsS -m 5 -o jwks.json "https://keys.example.com/t/acme/.well-known/jwks.json"; }
has_key() { jq -e --arg kid "$1" 'any(.keys[]; .kid == $kid)' jwks.json >/dev/null; }

verify() {
  local header kid
  header=$(rnbyc -t "$1" -H true -C false) || return
  jq -e '.alg | IN("ES256")' <<<"$header" >/dev/null || { echo "algorithm not allowed" >&2; return 1; }
  kid=$(jq -r .kid <<<"$header")
  # Fetch when the set is older than 5 minutes, and when it lacks the key.
  [ -n "$(find jwks.json -mmin -5 2>/dev/null)" ] || fetch || return
  has_key "$kid" || { fetch && has_key "$kid"; } || { echo "unknown kid" >&2; return 1; }
  rnbyc -t "$1" -P jwks.json >verified || return
  # The program checks the signature alone.
  sed -n '/^{/,$p' verified | jq -e 'select(.iss == "https://keys.example.com/t/acme" and .exp > now
    and ([.aud] | flatten | index("https://api.example.com")))'
}
