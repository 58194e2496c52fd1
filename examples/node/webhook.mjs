// A receiver of Keyward's webhooks, with the npm library jose.
import { Buffer } from 'node:buffer'
import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'
import { createRemoteJWKSet, flattenedVerify } from 'jose'

// verifier returns a function that checks who has sent a body (its bytes, before they are parsed), that it is
// for this webhook, and that it is not an old one sent again. jwks is the URL of the platform's JWK Set, as
// https://keys.example.com/.well-known/jwks.json.
export function verifier(jwks, webhookID) {
  const keys = createRemoteJWKSet(new URL(jwks))
  return async (signature, body) => {
    const parts = /^([\w-]+)\.\.([\w-]+)$/.exec(signature ?? '')
    if (!parts) throw new Error('not a detached signature')
    const jws = { protected: parts[1], payload: Buffer.from(body).toString('base64url'), signature: parts[2] }
    const { protectedHeader } = await flattenedVerify(jws, keys, { algorithms: ['ES256', 'EdDSA'] }) // those of the platform's policies
    if (protectedHeader.typ !== 'keyward-webhook+jws') throw new Error('signed for something else')
    const delivery = JSON.parse(Buffer.from(body).toString('utf8'))
    if (delivery.webhook_id !== webhookID) throw new Error('for somebody else')
    if (!(Math.abs(Date.now() - Date.parse(delivery.sent_at)) < 5 * 60_000)) throw new Error('of another time') // NaN included
    return delivery
  }
}

// receiver answers the requests of one webhook. handled has the ids of deliveries: keep them where they
// outlive the process, because a delivery can arrive more than once.
export function receiver(verify, handle, handled = new Set()) {
  return async (req, res) => {
    let delivery
    try {
      delivery = await verify(req.headers['keyward-signature'], await read(req))
    } catch {
      return res.writeHead(401).end()
    }
    try {
      if (!handled.has(delivery.id)) await handle(delivery.event)
      handled.add(delivery.id)
      res.writeHead(204).end()
    } catch {
      res.writeHead(500).end() // it comes again
    }
  }
}

async function read(req) {
  const chunks = []
  let size = 0
  for await (const chunk of req) {
    if ((size += chunk.length) > 1 << 20) throw new Error('too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const verify = verifier(process.env.KEYWARD_JWKS, process.env.KEYWARD_WEBHOOK_ID)
  const server = createServer(receiver(verify, (event) => console.log(event.tenant, event.seq, event.action, event.kid)))
  server.listen(process.env.PORT ?? 8081, '127.0.0.1', () => console.log('listening on', server.address().port))
}
