/** Does what the conformance runner tells it: commands by lines of JSON, as clients/conformance/README.md says. */
import { createInterface } from "node:readline";
import {
  BreakerNotFoundError,
  CallTimeoutError,
  Client,
  type Permit,
  type Policy,
  RejectedError,
} from "../src/index.js";
import { LocalBreaker } from "../src/local.js";
import { STATES } from "../src/view.js";
import { localRule, policyOf } from "../src/wire.js";

type Command = Record<string, any>;
type Reply = Record<string, unknown>;

interface Scenario {
  client: Client;
  now: number;
  events: Reply[];
}

const clients = new Map<string, Scenario>();
const permits = new Map<string, Permit>();

const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const seconds = (text: string) => Number.parseFloat(text) * 1e3;

/** What the proto's names of a policy's choices begin with. */
const CHOICE = /^(EXPIRED_PERMIT|VOTERS|TRIP_ON)_/;

/** The proto's JSON as this package's policy. */
function policy(json: Command): Policy {
  const made: Command = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === "window") {
      made.window = value.count
        ? { calls: value.count.calls }
        : { durationMs: seconds(value.time.duration), slices: value.time.slices };
    } else if (name === "open_backoff") {
      made.openBackoff = { ...value, maxDurationMs: value.max_duration ? seconds(value.max_duration) : undefined };
    } else if (CHOICE.test(value)) {
      made[camel(name)] = value.replace(CHOICE, "").toLowerCase();
    } else if (typeof value === "string" && /s$/.test(value)) {
      made[`${camel(name)}Ms`] = seconds(value);
    } else {
      made[camel(name)] = value;
    }
  }
  return made;
}

const options = (json: Command = {}): Command =>
  Object.fromEntries(
    Object.entries(json).map(([name, value]) => {
      if (name === "policy") {
        return ["policy", policy(value)];
      }
      return [name === "call_timeout_ms" ? "timeoutMs" : camel(name), value];
    }),
  );

const scenario = (command: Command): Scenario => clients.get(command.client)!;
const breaker = (command: Command) => scenario(command).client.breaker(command.breaker);
const rejection = (error: RejectedError): Reply => ({
  reason: error.reason,
  retry_after_ms: error.retryAfterMs,
  state: error.state,
  source: error.source,
});

const COMMANDS: Record<string, (command: Command) => Promise<Reply | undefined> | Reply | undefined> = {
  client(command) {
    const made: Scenario = { now: performance.now(), events: [], client: undefined as never };
    const clock = command.manual_time ? { clock: () => made.now } : {};
    const observer = { warn: (message: string, error?: unknown) => console.error(message, error ?? "") };
    made.client = new Client({ ...options(command.options), ...clock, observer });
    made.client.on("event", ({ kind, breaker, generation, sequence, lost }) => {
      made.events.push({ kind, breaker, generation, sequence, lost });
    });
    clients.set(command.client, made);
    return undefined;
  },
  breaker(command) {
    scenario(command).client.breaker(command.breaker, options(command.options));
    return undefined;
  },
  async ready(command) {
    return { ready: await scenario(command).client.ready(command.timeout_ms) };
  },
  advance(command) {
    scenario(command).now += command.ms;
    return undefined;
  },
  async acquire(command) {
    const start = performance.now();
    let answer: Reply;
    try {
      const permit = await breaker(command).acquire();
      permits.set(command.permit, permit);
      answer = { decision: "permitted", source: permit.source };
    } catch (error) {
      if (!(error instanceof RejectedError)) {
        throw error;
      }
      answer = { decision: "rejected", ...rejection(error) };
    }
    return { ...answer, elapsed_ms: performance.now() - start };
  },
  async report(command) {
    const told = permits.get(command.permit)!.report(command.outcome, {
      durationMs: command.duration_ms,
      errorClass: command.error_class,
      retryAfterMs: command.retry_after_ms,
      local: command.origin === "local",
    });
    if (command.wait) {
      await told;
    }
    return undefined;
  },
  forget(command) {
    permits.get(command.permit)![Symbol.dispose]();
    return undefined;
  },
  async execute(command) {
    const { client } = scenario(command);
    const { call } = command;
    const thrown = new Error(call.throws);
    const made = async () => {
      if (call.hangs_ms) {
        await new Promise((resolve) => setTimeout(resolve, call.hangs_ms).unref());
      }
      if (call.throws !== undefined) {
        throw thrown;
      }
      return call.returns ?? null;
    };
    const classify = (error: unknown) => {
      if (error === undefined) {
        return "success" as const;
      }
      const isIgnored = (error as Error).message === command.ignore;
      return isIgnored
        ? ("ignored" as const)
        : { outcome: "failure" as const, errorClass: "call_error", retryAfterMs: command.retry_after_ms };
    };
    const own = {
      ...("ignore" in command || "retry_after_ms" in command ? { classify } : {}),
      ...("fallback" in command ? { fallback: () => command.fallback } : {}),
    };
    let answer: Reply = {};
    let [longest, permitted, rejections] = [0, 0, 0];
    const rejected = () => Object.values(client.stats().rejections).reduce((sum, count) => sum + count);
    for (let time = 0; time < (command.times ?? 1); time += 1) {
      const before = rejected();
      const start = performance.now();
      try {
        answer = { value: await breaker(command).execute(made, own) };
      } catch (error) {
        if (error instanceof RejectedError) {
          answer = { rejected: rejection(error) };
        } else if (error instanceof CallTimeoutError) {
          answer = { timed_out: true };
        } else {
          answer = { threw: (error as Error).message, is_same_error: error === thrown };
        }
      }
      longest = Math.max(longest, performance.now() - start);
      if (rejected() > before) {
        rejections += 1;
      } else {
        permitted += 1;
      }
    }
    return { ...answer, elapsed_ms: longest, permitted, rejections };
  },
  view(command) {
    const view = breaker(command).view();
    return view
      ? {
          state: view.state,
          generation: view.generation,
          caller_state: view.callerState,
          fresh: view.fresh,
          override_mode: view.override || undefined,
        }
      : { fresh: false };
  },
  async state(command) {
    try {
      const { status, totals } = await breaker(command).state();
      return {
        state: STATES[status!.state],
        generation: status!.generation,
        failures: status!.failures,
        successes: totals!.successes,
        total_failures: totals!.failures,
        rejected: totals!.rejected,
        stale: totals!.stale,
        ignored: totals!.ignored,
      };
    } catch (error) {
      if (error instanceof BreakerNotFoundError) {
        return { not_found: true };
      }
      throw error;
    }
  },
  async reset(command) {
    try {
      await breaker(command).reset(command.reason);
      return undefined;
    } catch (error) {
      if (error instanceof BreakerNotFoundError) {
        return { not_found: true };
      }
      throw error;
    }
  },
  events: (command) => ({ events: scenario(command).events }),
  stats(command) {
    const stats = Object.entries(scenario(command).client.stats());
    const told = stats.map(([name, value]) => [snake(name), value === Number.POSITIVE_INFINITY ? 1e15 : value]);
    return Object.fromEntries(told);
  },
  local(command) {
    const alone = new LocalBreaker(localRule(policyOf(policy(command.policy))));
    const given = new Map<string, number>();
    const results: Reply[] = [];
    for (const step of command.steps) {
      if (step.do === "report") {
        const permit = given.get(step.permit);
        if (permit !== undefined) {
          given.delete(step.permit);
          alone.report(permit, step.origin === "local" ? "ignored" : step.outcome, step.at_ms);
        }
        continue;
      }
      const answer = alone.acquire(step.at_ms);
      if (typeof answer === "number") {
        given.set(step.permit, answer);
        results.push({ decision: "permitted" });
      } else {
        results.push({ decision: "rejected", reason: answer.reason, retry_after_ms: answer.retryAfterMs });
      }
    }
    return { results };
  },
  async close(command) {
    const start = performance.now();
    await scenario(command).client.close();
    return { elapsed_ms: performance.now() - start };
  },
};

async function obey(line: string): Promise<void> {
  const command: Command = JSON.parse(line);
  let answer: Reply;
  try {
    answer = { ok: (await COMMANDS[command.do]!(command)) ?? {} };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify({ id: command.id, ...answer })}\n`);
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => void obey(line));
lines.on("close", () => process.exit(0));
