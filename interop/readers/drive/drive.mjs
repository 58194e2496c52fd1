// Drives a reader of Node.js: drive.mjs PROGRAM PACKAGES. readers_test.go has the protocol.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [program, packages] = process.argv.slice(2);
const version = (name) => JSON.parse(readFileSync(join(dirname(program), 'node_modules', name, 'package.json'))).version;
const { verify } = await import(pathToFileURL(program));
console.log('ready', packages.split(',').map(version).join(' '));
for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log('ok', (await verify(line)).sub);
  } catch (err) {
    console.log('refused', `${err.name} ${err.message}`.replace(/\s+/g, ' '));
  }
}
