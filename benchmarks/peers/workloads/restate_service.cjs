// The Restate handlers of the benchmark on the TypeScript SDK: `ctx.run` is a step, journaled by the server before
// the next one starts. Arguments: the loopback port to serve on, and the file that opens the gate of a recovery.
"use strict";

const fs = require("node:fs");
const http2 = require("node:http2");
const restate = require("@restatedev/restate-sdk");

const [port, gate] = process.argv.slice(2);
const STEPS_A_RUN = 4;
let executions = 0;

function noOp(payload) {
  executions += 1;
  return { ...payload, sources: executions };
}

function atTheGate(payload) {
  if (fs.existsSync(gate)) return noOp(payload);
  console.log("history is complete");
  return new Promise(() => {});
}

const bench = restate.service({
  name: "bench",
  handlers: {
    sequential: async (ctx, payload) => {
      for (let number = 0; number < STEPS_A_RUN; number += 1) {
        const input = payload;
        payload = await ctx.run("step", () => noOp(input));
      }
      return payload;
    },
    count: async () => ({ executions, at: performance.now() / 1000 }),
    // Runs the steps side by side, `width` of them at a time.
    wide: async (ctx, { payload, steps, width }) => {
      let joined = 0;
      for (let first = 0; first < steps; first += width) {
        const length = Math.min(width, steps - first);
        const started = Array.from({ length }, () => ctx.run("step", () => noOp(payload)));
        joined += (await restate.RestatePromise.all(started)).length;
      }
      return joined;
    },
  },
});

const long = restate.workflow({
  name: "long",
  handlers: {
    run: async (ctx, { payload, steps }) => {
      for (let number = 0; number < steps; number += 1) {
        const input = payload;
        payload = await ctx.run("step", () => noOp(input));
      }
      await ctx.run("gate", () => atTheGate(payload));
      return { steps, stepsRunAgain: executions - 1 };
    },
  },
});

const quiet = () => {};
const endpoint = restate.endpoint().setLogger(quiet).bind(bench).bind(long);
http2.createServer(endpoint.http2Handler()).listen(Number(port), "127.0.0.1");
