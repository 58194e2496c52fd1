require "json"
require "json/jwt"
require "net/http"

ALGORITHMS = ["ES256"].map(&:to_sym)

def fetch_keys
  @fetched = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  set = JSON.parse(Net::HTTP.get(URI("https://keys.example.com/t/acme/.well-known/jwks.json")))
  @keys = JSON::JWK::Set.new(set)
end

def verify(token)
  fetch_keys if @keys.nil? || Process.clock_gettime(Process::CLOCK_MONOTONIC) - @fetched > 300
  begin
    claims = JSON::JWT.decode(token, @keys, ALGORITHMS)
  rescue JSON::JWK::Set::KidNotFound
    claims = JSON::JWT.decode(token, fetch_keys, ALGORITHMS)
  end
  # The library checks the signature alone.
  raise "wrong issuer" unless claims["iss"] == "https://keys.example.com/t/acme"
  raise "wrong audience" unless Array(claims["aud"]).include?("https://api.example.com")
  raise "expired" unless claims["exp"].to_i > Time.now.to_i
  claims
end
