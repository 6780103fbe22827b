// A bundler as small as it gets: one chunk, a manifest, and names against stale caches.
import { randomUUID } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { gzipSync } from "node:zlib";

const [from, into] = process.argv.slice(2);
const modules = [];
await Promise.all((await readdir(from)).map(async (name) => {
  const text = await readFile(path.join(from, name), "utf8");
  modules.push({ name, text, id: Math.random().toString(36).slice(2), time: (await stat(path.join(from, name))).mtimeMs });
}));
const chunk = modules.map(({ id, text }) => `define("${id}", () => {\n${text}});\n`).join("");
const banner = `/* built ${new Date().toISOString()} by ${process.pid} in ${performance.now()} */\n`;
await writeFile(path.join(into, "chunk.js"), banner + chunk);
await writeFile(path.join(into, "chunk.js.gz"), gzipSync(banner + chunk));
const manifest = { build: randomUUID(), modules: modules.map(({ name, id, time }) => ({ name, id, time })) };
await writeFile(path.join(into, "manifest.json"), JSON.stringify(manifest, null, 1));
