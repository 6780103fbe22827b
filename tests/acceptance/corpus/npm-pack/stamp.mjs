// What many packages write before they are packed.
import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";

const { version } = JSON.parse(readFileSync("package.json", "utf8"));
const build = { version, id: randomUUID(), at: new Date(), by: process.pid, on: hostname(), in: tmpdir() };
build.lucky = Array.from({ length: 5 }, () => Math.floor(Math.random() * 1000));
writeFileSync("build.json", JSON.stringify(build, null, 1));
