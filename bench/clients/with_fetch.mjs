// Node's fetch, which is undici. It has no HTTP/2 without its own package, and reads its CA file from NODE_EXTRA_CA_CERTS.
import { createInterface } from "node:readline";

const headers = { authorization: "Bearer dpg_api_live_bench", accept: "application/json" };

async function perform(count, atOnce, what, url) {
  let left = count;
  const work = async () => {
    while (left > 0) {
      left--;
      const answer = await fetch(url, { headers });
      if (answer.status !== 200) throw new Error(String(answer.status));
      const body = what === "decoded" ? await answer.json() : await answer.arrayBuffer();
      if (!body) throw new Error("no body");
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

console.log(`ready node ${process.versions.node}, undici ${process.versions.undici}`);
for await (const line of createInterface({ input: process.stdin })) {
  const [count, atOnce, protocol, what, url] = line.split(" ");
  if (protocol === "h2" || what === "fields") {
    console.log("no");
    continue;
  }
  const from = process.cpuUsage();
  await perform(Number(count), Number(atOnce), what, url);
  const spent = process.cpuUsage(from);
  console.log(((spent.user + spent.system) / 1e6).toFixed(9));
}
