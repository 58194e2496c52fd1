import java.math.BigInteger;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;
import java.security.spec.EdECPoint;
import java.security.spec.EdECPublicKeySpec;
import java.security.spec.NamedParameterSpec;
import java.security.spec.RSAPublicKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

import com.sun.net.httpserver.HttpServer;

/**
 * A service in Java 17 that uses Keyward: a token for each tenant, verified; a
 * rotation and a revocation; a webhook; a change that is repeated. It needs the JDK
 * alone; with a library such as Nimbus JOSE + JWT, Keys and Json go.
 *
 * <pre>KEYWARD_URL=https://keys.example.com KEYWARD_API_KEY=kw_… java Program.java</pre>
 */
public final class Program {
  static final String URL = System.getenv("KEYWARD_URL").replaceAll("/+$", "");
  static final String API_KEY = System.getenv("KEYWARD_API_KEY");
  static final String AUDIENCE = "https://orders.example.com";
  static final HttpClient HTTP = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(10)).build();

  public static void main(String[] args) throws Exception {
    // Create the tenants. A key that your job has stored makes each change happen once.
    String acme = "acme-" + UUID.randomUUID(), globex = "globex-" + UUID.randomUUID();
    Map<String, Verifier> verifiers = new LinkedHashMap<>();
    for (String slug : List.of(acme, globex)) {
      Map<String, Object> body = Map.of("slug", slug);
      Object first = call("POST", "/v1/tenants", body, "create-" + slug).get("id");
      check(first.equals(call("POST", "/v1/tenants", body, "create-" + slug).get("id")));
      verifiers.put(slug, new Verifier(slug));
    }

    // A token of one tenant is nothing to another.
    Map<String, Object> old = issue(acme, "ES256");
    check("alice".equals(verifiers.get(acme).verify((String) old.get("token")).get("sub")));
    check(refuses(verifiers.get(globex), (String) old.get("token")));
    for (String alg : List.of("RS256", "EdDSA")) {
      call("PUT", "/v1/tenants/" + globex + "/policies/" + alg, Map.of(), null);
    }
    verifiers.get(globex).keys.expire();
    for (String alg : List.of("RS256", "EdDSA")) {
      verifiers.get(globex).verify((String) issue(globex, alg).get("token"));
    }
    System.out.println("issued and verified");

    // After a rotation old and new tokens verify.
    call("POST", "/v1/tenants/" + acme + "/keys/rotate", Map.of(), null);
    Map<String, Object> next = issue(acme, "ES256");
    check(!next.get("kid").equals(old.get("kid")));
    verifiers.get(acme).verify((String) next.get("token"));
    verifiers.get(acme).verify((String) old.get("token"));
    System.out.println("followed a rotation");

    // A leaked key: nothing that it signed verifies from the moment the event arrives.
    call("POST", "/v1/tenants/" + acme + "/keys/" + next.get("kid") + "/revoke", Map.of("reason", "compromised"), null);
    while (!refuses(verifiers.get(acme), (String) next.get("token"))) {
      Thread.sleep(1);
    }
    System.out.println("heard of a revocation");
    System.out.println("verified a webhook: " + receiveWebhook(acme));
    System.exit(0); // the streams would go on
  }

  static Map<String, Object> issue(String slug, String alg) throws Exception {
    return call("POST", "/v1/tenants/" + slug + "/tokens", Map.of("claims", Map.of("sub", "alice", "aud", AUDIENCE), "alg", alg), null);
  }

  /** Calls the API. A change is repeated with the same Idempotency-Key, so it is made once. */
  static Map<String, Object> call(String method, String path, Map<String, Object> body, String once) throws Exception {
    HttpRequest request = HttpRequest.newBuilder(URI.create(URL + path)).timeout(Duration.ofSeconds(30))
        .header("Authorization", "Bearer " + API_KEY).header("Accept", "application/json").header("Content-Type", "application/json")
        .header("Idempotency-Key", once == null ? UUID.randomUUID().toString() : once)
        .method(method, HttpRequest.BodyPublishers.ofString(Json.write(body))).build();
    for (int tries = 1;; tries++) {
      double wait = 0.25 * (1 << tries) * ThreadLocalRandom.current().nextDouble(0.5, 1);
      try {
        HttpResponse<String> response = HTTP.send(request, HttpResponse.BodyHandlers.ofString());
        int status = response.statusCode();
        Map<String, Object> answer = response.body().isEmpty() ? Map.of() : Json.object(response.body());
        if (status < 300) {
          return answer;
        }
        if (tries == 4 || !(Set.of(429, 502, 503, 504).contains(status) || answer.containsKey("outcome"))) {
          throw new IllegalStateException(answer.get("code") + ": " + answer.get("detail")); // RFC 9457
        }
        wait = Math.max(wait, Double.parseDouble(response.headers().firstValue("Retry-After").orElse("0")));
      } catch (java.io.IOException e) { // no answer: the change may have been made, and the key finds out
        if (tries == 4) {
          throw e;
        }
      }
      Thread.sleep((long) (wait * 1000));
    }
  }

  /** Keys is the JWK Set of one issuer: replaced whole, asked for an unknown kid at most every 5 seconds. */
  static final class Keys {
    final URI url;
    final Set<String> revoked = ConcurrentHashMap.newKeySet();
    double notBefore;
    private Map<String, Map<String, Object>> keys = Map.of();
    private long expires = System.nanoTime(), asked = System.nanoTime() - Long.MAX_VALUE / 2;

    Keys(String url) {
      this.url = URI.create(url);
    }

    synchronized Map<String, Object> get(String kid) throws Exception {
      long now = System.nanoTime();
      if (now - expires >= 0) {
        fetch();
      } else if (!keys.containsKey(kid) && now - asked >= TimeUnit.SECONDS.toNanos(5)) {
        asked = now;
        fetch();
      }
      if (revoked.contains(kid) || !keys.containsKey(kid)) {
        throw new GeneralSecurityException("unknown or revoked key");
      }
      return keys.get(kid);
    }

    synchronized void expire() {
      expires = System.nanoTime();
    }

    @SuppressWarnings("unchecked")
    private void fetch() throws Exception {
      HttpRequest request = HttpRequest.newBuilder(url).timeout(Duration.ofSeconds(5)).header("Cache-Control", "no-cache").build();
      HttpResponse<String> response = HTTP.send(request, HttpResponse.BodyHandlers.ofString());
      check(response.statusCode() == 200);
      Map<String, Map<String, Object>> found = new LinkedHashMap<>();
      for (Object key : (List<Object>) Json.object(response.body()).get("keys")) {
        Map<String, Object> jwk = (Map<String, Object>) key;
        found.put((String) jwk.get("kid"), jwk);
      }
      long age = 30;
      for (String directive : response.headers().firstValue("Cache-Control").orElse("").split(",")) {
        if (directive.strip().startsWith("max-age=")) {
          age = Math.min(Math.max(Long.parseLong(directive.strip().substring(8)), 1), 600);
        }
      }
      notBefore = Double.parseDouble(response.headers().firstValue("Keyward-Not-Before").orElse("0"));
      keys = found;
      expires = System.nanoTime() + TimeUnit.SECONDS.toNanos(age);
    }
  }

  /** Checks a signature by a key, which verifies its own algorithm alone. */
  static void verifySignature(Map<String, Object> jwk, Object alg, String input, byte[] signature) throws GeneralSecurityException {
    if (!alg.equals(jwk.get("alg"))) {
      throw new GeneralSecurityException("of another algorithm");
    }
    Signature verifier = Signature.getInstance(switch ((String) alg) {
      case "ES256" -> "SHA256withECDSAinP1363Format";
      case "RS256" -> "SHA256withRSA";
      case "EdDSA", "Ed25519" -> "Ed25519";
      default -> throw new GeneralSecurityException("an algorithm that is not accepted");
    });
    verifier.initVerify(publicKey(jwk));
    verifier.update(input.getBytes(StandardCharsets.US_ASCII));
    if (!verifier.verify(signature)) {
      throw new GeneralSecurityException("the signature is not valid");
    }
  }

  static PublicKey publicKey(Map<String, Object> jwk) throws GeneralSecurityException {
    switch ((String) jwk.get("kty")) {
      case "EC" -> {
        AlgorithmParameters p256 = AlgorithmParameters.getInstance("EC");
        p256.init(new ECGenParameterSpec("secp256r1"));
        ECPoint point = new ECPoint(number(jwk, "x"), number(jwk, "y"));
        return KeyFactory.getInstance("EC").generatePublic(new ECPublicKeySpec(point, p256.getParameterSpec(ECParameterSpec.class)));
      }
      case "RSA" -> {
        return KeyFactory.getInstance("RSA").generatePublic(new RSAPublicKeySpec(number(jwk, "n"), number(jwk, "e")));
      }
      default -> { // RFC 8032 section 5.1.2: little-endian, the highest bit is the sign of x
        byte[] y = bytes((String) jwk.get("x"));
        for (int i = 0; i < y.length / 2; i++) {
          byte b = y[i];
          y[i] = y[y.length - 1 - i];
          y[y.length - 1 - i] = b;
        }
        boolean odd = y[0] < 0;
        y[0] &= 0x7f;
        return KeyFactory.getInstance("Ed25519").generatePublic(new EdECPublicKeySpec(NamedParameterSpec.ED25519, new EdECPoint(odd, new BigInteger(1, y))));
      }
    }
  }

  static BigInteger number(Map<String, Object> jwk, String name) {
    return new BigInteger(1, bytes((String) jwk.get(name)));
  }

  static byte[] bytes(String base64url) {
    return Base64.getUrlDecoder().decode(base64url);
  }

  static Map<String, Object> part(String base64url) {
    return Json.object(new String(bytes(base64url), StandardCharsets.UTF_8));
  }

  /** Verifier checks the tokens of one tenant, and hears of revocations from its key events. */
  static final class Verifier {
    final String issuer;
    final Keys keys;
    private final CountDownLatch open = new CountDownLatch(1);

    Verifier(String slug) throws Exception {
      issuer = URL + "/t/" + slug;
      keys = new Keys(issuer + "/.well-known/jwks.json");
      String key = (String) call("POST", "/v1/tenants/" + slug + "/api-keys", Map.of("role", "tenant_verifier"), null).get("key");
      Thread follower = new Thread(() -> follow(URI.create(URL + "/v1/tenants/" + slug + "/key-events"), key));
      follower.setDaemon(true);
      follower.start();
      check(open.await(1, TimeUnit.MINUTES));
    }

    Map<String, Object> verify(String token) throws Exception {
      String[] parts = token.split("\\.", -1);
      if (parts.length != 3) {
        throw new GeneralSecurityException("malformed");
      }
      Map<String, Object> header = part(parts[0]);
      Object typ = header.getOrDefault("typ", "JWT");
      if (header.containsKey("crit") || !(typ.equals("JWT") || typ.equals("at+jwt"))) {
        throw new GeneralSecurityException("of another type");
      }
      verifySignature(keys.get((String) header.get("kid")), header.get("alg"), parts[0] + "." + parts[1], bytes(parts[2]));
      Map<String, Object> claims = part(parts[1]);
      Object aud = claims.get("aud");
      double now = Instant.now().toEpochMilli() / 1000.0;
      boolean fine = issuer.equals(claims.get("iss")) && (AUDIENCE.equals(aud) || aud instanceof List<?> list && list.contains(AUDIENCE))
          && ((Number) claims.getOrDefault("exp", 0)).doubleValue() > now && ((Number) claims.getOrDefault("nbf", 0)).doubleValue() <= now
          && ((Number) claims.getOrDefault("iat", 0)).doubleValue() >= keys.notBefore;
      if (!fine) {
        throw new GeneralSecurityException("of another issuer, for somebody else, or of another time");
      }
      return claims;
    }

    /** Reads the stream, and opens it again where it ended. */
    private void follow(URI url, String key) {
      String last = null;
      for (int failures = 0;; failures++) {
        try {
          HttpRequest.Builder request = HttpRequest.newBuilder(url).header("Authorization", "Bearer " + key).header("Accept", "text/event-stream");
          if (last != null) {
            request.header("Last-Event-ID", last);
          }
          HttpResponse<java.util.stream.Stream<String>> response = HTTP.send(request.build(), HttpResponse.BodyHandlers.ofLines());
          if (response.statusCode() == 200) {
            open.countDown();
            Map<String, String> event = new LinkedHashMap<>();
            for (String line : (Iterable<String>) response.body()::iterator) {
              if (!line.isEmpty()) {
                String[] field = line.split(": ", 2);
                event.put(field[0], field.length == 2 ? field[1] : "");
                continue;
              }
              handle(event.getOrDefault("event", ""), event.get("data"));
              last = event.getOrDefault("id", last);
              event.clear();
              failures = 0;
            }
          }
        } catch (java.io.IOException | RuntimeException e) {
          // A lost stream is opened again.
        } catch (InterruptedException e) {
          return;
        }
        try {
          Thread.sleep((long) (Math.min(2000L << Math.min(failures, 4), 30_000) * ThreadLocalRandom.current().nextDouble(0.5, 1)));
        } catch (InterruptedException e) {
          return;
        }
      }
    }

    private void handle(String action, String data) {
      if (action.equals("key.revoked")) {
        keys.revoked.add((String) Json.object(data).get("kid"));
      }
      if (action.startsWith("key.") || action.startsWith("tenant.")) {
        keys.expire(); // the next token has the set fetched
      }
    }
  }

  static boolean refuses(Verifier verifier, String token) throws Exception {
    try {
      verifier.verify(token);
      return false;
    } catch (GeneralSecurityException e) {
      return true;
    }
  }

  /** Creates a webhook and returns the action of its first delivery. */
  static String receiveWebhook(String slug) throws Exception {
    Keys platform = new Keys(URL + "/.well-known/jwks.json");
    SynchronousQueue<String> arrived = new SynchronousQueue<>();
    CountDownLatch known = new CountDownLatch(1);
    String[] webhook = new String[1];
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    server.createContext("/", exchange -> {
      int status = 401;
      try {
        known.await(); // a delivery can be faster than the answer that says the id
        byte[] body = exchange.getRequestBody().readNBytes(1 << 20);
        Map<String, Object> delivery = verifyDelivery(platform, webhook[0], exchange.getRequestHeaders().getFirst("Keyward-Signature"), body);
        status = 204; // remember delivery.get("id"): it can arrive more than once
        arrived.offer((String) ((Map<?, ?>) delivery.get("event")).get("action"), 5, TimeUnit.SECONDS);
      } catch (Exception e) {
        System.err.println("a delivery is refused: " + e.getMessage());
      }
      exchange.sendResponseHeaders(status, -1);
      exchange.close();
    });
    server.start();
    String url = "http://127.0.0.1:" + server.getAddress().getPort() + "/";
    webhook[0] = (String) call("POST", "/v1/tenants/" + slug + "/webhooks", Map.of("url", url), null).get("id");
    known.countDown();
    String action = arrived.poll(1, TimeUnit.MINUTES);
    check(action != null);
    server.stop(0);
    return action;
  }

  /** Checks who sent a body (a detached JWS, RFC 7515 appendix F), that it is for this webhook, and recent. */
  static Map<String, Object> verifyDelivery(Keys platform, String webhook, String signature, byte[] body) throws Exception {
    String[] parts = signature.split("\\.", -1);
    Map<String, Object> header = part(parts[0]);
    if (!"keyward-webhook+jws".equals(header.get("typ"))) {
      throw new GeneralSecurityException("signed for something else");
    }
    String payload = Base64.getUrlEncoder().withoutPadding().encodeToString(body);
    verifySignature(platform.get((String) header.get("kid")), header.get("alg"), parts[0] + "." + payload, bytes(parts[2]));
    Map<String, Object> delivery = Json.object(new String(body, StandardCharsets.UTF_8));
    Duration age = Duration.between(Instant.parse((String) delivery.get("sent_at")), Instant.now()).abs();
    if (!webhook.equals(delivery.get("webhook_id")) || age.toMinutes() >= 5) {
      throw new GeneralSecurityException("for another webhook, or of another time");
    }
    return delivery;
  }

  static void check(boolean is) {
    if (!is) {
      throw new IllegalStateException("this must not happen");
    }
  }

  /** Json reads and writes JSON, as far as this program needs it. */
  static final class Json {
    private final String text;
    private int at;

    private Json(String text) {
      this.text = text;
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> object(String text) {
      Json json = new Json(text);
      Object value = json.value();
      if (json.peek() != 0 || !(value instanceof Map)) {
        throw new IllegalArgumentException("not a JSON object");
      }
      return (Map<String, Object>) value;
    }

    static String write(Object value) {
      if (value instanceof Map<?, ?> map) {
        List<String> members = new ArrayList<>();
        map.forEach((name, member) -> members.add(write(name) + ":" + write(member)));
        return "{" + String.join(",", members) + "}";
      }
      if (value instanceof String string) {
        return '"' + string.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
      }
      return String.valueOf(value);
    }

    private char peek() {
      while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
        at++;
      }
      return at < text.length() ? text.charAt(at) : 0;
    }

    private boolean take(char c) {
      boolean is = peek() == c;
      at += is ? 1 : 0;
      return is;
    }

    private Object value() {
      if (take('{')) {
        Map<String, Object> map = new LinkedHashMap<>();
        while (!take('}')) {
          take(',');
          String name = (String) value();
          take(':');
          map.put(name, value());
        }
        return map;
      }
      if (take('[')) {
        List<Object> list = new ArrayList<>();
        while (!take(']')) {
          take(',');
          list.add(value());
        }
        return list;
      }
      if (take('"')) {
        return string();
      }
      int begin = at;
      while (at < text.length() && "}],".indexOf(text.charAt(at)) < 0 && !Character.isWhitespace(text.charAt(at))) {
        at++;
      }
      String word = text.substring(begin, at);
      return switch (word) {
        case "true" -> true;
        case "false" -> false;
        case "null" -> null;
        default -> Double.valueOf(word);
      };
    }

    private String string() {
      StringBuilder out = new StringBuilder();
      while (text.charAt(at) != '"') {
        char c = text.charAt(at++);
        if (c != '\\') {
          out.append(c);
          continue;
        }
        c = text.charAt(at++);
        switch (c) {
          case 'n' -> out.append('\n');
          case 't' -> out.append('\t');
          case 'r' -> out.append('\r');
          case 'b' -> out.append('\b');
          case 'f' -> out.append('\f');
          case 'u' -> {
            out.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
            at += 4;
          }
          default -> out.append(c);
        }
      }
      at++;
      return out.toString();
    }
  }
}
