/** A Fuseboard server for a test: the built binary on a loopback port, keeping nothing. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const START_MS = 20_000;

export class Server {
  #process: ChildProcess | undefined;

  private constructor(
    readonly address: string,
    private readonly flags: string[],
  ) {}

  static async start(...flags: string[]): Promise<Server> {
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port } = probe.address() as { port: number };
    probe.close();
    await once(probe, "close");
    const server = new Server(`127.0.0.1:${port}`, flags);
    await server.start();
    return server;
  }

  /** Starts it, again after a kill, and waits until it accepts connections. */
  async start(): Promise<void> {
    const binary = process.env.FUSEBOARD_BIN;
    if (!binary) {
      throw new Error("FUSEBOARD_BIN names no server: build one with `cargo build --release` and set it");
    }
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FUSEBOARD_")));
    const flags = ["serve", "--ephemeral", "--address", this.address, "--http-address", "off", ...this.flags];
    this.#process = spawn(binary, flags, { stdio: "ignore", env: own });
    const deadline = Date.now() + START_MS;
    while (!(await this.#accepts())) {
      if (this.#process.exitCode !== null || Date.now() > deadline) {
        throw new Error("the server has not started");
      }
      await sleep(10);
    }
  }

  async #accepts(): Promise<boolean> {
    const [host, port] = this.address.split(":");
    const socket = connect(Number(port), host);
    try {
      await once(socket, "connect");
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }

  async kill(): Promise<void> {
    if (this.#process?.exitCode === null) {
      this.#process.kill("SIGKILL");
      await once(this.#process, "exit");
    }
  }
}

/** Waits until a condition holds. */
export async function until(holds: () => unknown, withinMs = 15_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > deadline) {
      throw new Error(`it did not come to hold in time: ${holds}`);
    }
    await sleep(5);
  }
}
