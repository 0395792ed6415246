// Reads a list of {place, language, text} and prints which texts the grammar of their language does not accept.
import { readFileSync } from "node:fs";
import { parser as LogQL } from "@grafana/lezer-logql";
import { parser as TraceQL } from "@grafana/lezer-traceql";

const grammars = { LogQL, TraceQL };
const queries = JSON.parse(readFileSync(0, "utf8"));
const wrong = [];
for (const { place, language, text } of queries) {
  grammars[language].parse(text).iterate({
    enter(node) {
      if (node.type.isError) {
        wrong.push(`${place}: invalid ${language} at ${node.from}: ${text}`);
      }
    },
  });
}
if (queries.length === 0) {
  wrong.push("no queries");
}
console.log(wrong.join("\n") || `${queries.length} queries parsed`);
process.exitCode = wrong.length === 0 ? 0 : 1;
