// The built binary, started on a free loopback port, and stopped as an operator would stop it.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { HealthCheckResponse_ServingStatus, HealthClient } from "../gen/health/v1/health.js";
import { ask } from "./rpc.js";

const ROOT = resolve(import.meta.dirname, "../../../../..");

// The server starts in well under a second; a machine busy with compilers may take longer.
const START_MS = 20_000;
// A drain that takes longer than this is a hang.
const STOP_MS = 20_000;

/** The binary under test: FUSEBOARD_BIN, or this tree's release build. */
function binary(): string {
  const target = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
  return resolve(process.env.FUSEBOARD_BIN ?? join(target, "release", "fuseboard"));
}

/** A loopback port that nobody listens on right now. */
async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  assert(address && typeof address === "object");
  probe.close();
  await once(probe, "close");
  return address.port;
}

/** Waits until a server answers, or has ended. */
async function serving(health: HealthClient, child: ChildProcess): Promise<void> {
  const giveUp = Date.now() + START_MS;
  // In short turns, because the wait keeps its timer until its deadline, however the server ends.
  while (child.exitCode === null && Date.now() < giveUp) {
    const ready = await new Promise<boolean>((resolve) =>
      health.waitForReady(Date.now() + 500, (error) => resolve(!error)),
    );
    if (!ready) continue;
    const { status } = await ask(health, health.check, { service: "" });
    assert.equal(status, HealthCheckResponse_ServingStatus.SERVING);
    return;
  }
  throw new Error("fuseboard is not there");
}

/** A running server, which keeps nothing. */
export class Fuseboard {
  private log = "";

  private constructor(
    readonly address: string,
    private readonly process: ChildProcess,
  ) {
    for (const stream of [process.stdout, process.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.log += text;
      });
    }
  }

  /** Starts a server and waits until its health is SERVING. */
  static async start(...flags: string[]): Promise<Fuseboard> {
    const address = `127.0.0.1:${await freePort()}`;
    // What the developer's shell sets must not change what is tested.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(FUSEBOARD_|RUST_LOG)/.test(name)),
    );
    const child = spawn(binary(), ["serve", "--ephemeral", "--address", address, "--http-address", "off", ...flags], {
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    process.once("exit", () => child.kill("SIGKILL"));
    const server = new Fuseboard(address, child);
    const health = new HealthClient(address, credentials.createInsecure(), {
      "grpc.initial_reconnect_backoff_ms": 50,
    });
    try {
      await Promise.race([serving(health, child), server.endedEarly()]);
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    } finally {
      health.close();
    }
    return server;
  }

  private async endedEarly(): Promise<never> {
    const [code, signal] = await once(this.process, "exit");
    throw new Error(`fuseboard ended with ${code ?? signal} at its start:\n${this.log}`);
  }

  /** Asks it to drain. */
  terminate(): void {
    this.process.kill("SIGTERM");
  }

  /** Waits for the end of a drain, which must be a good one. */
  async ended(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      try {
        await once(this.process, "exit", { signal: AbortSignal.timeout(STOP_MS) });
      } catch (error) {
        this.process.kill("SIGKILL");
        throw new Error(`fuseboard did not end within ${STOP_MS} ms of SIGTERM:\n${this.log}`, { cause: error });
      }
    }
    assert.equal(this.process.exitCode, 0, this.log);
    assert.doesNotMatch(this.log, /panicked/);
  }

  /** Stops it by SIGTERM and insists on exit code 0. */
  async stop(): Promise<void> {
    this.terminate();
    await this.ended();
  }
}
