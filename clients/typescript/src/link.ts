/** The connection of a client: one channel, one watch, one session, and what else is asked of the server. */
import { type ChannelOptions, status as Code, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { BreakerNotFoundError, ServerError } from "./errors.js";
import type { BreakerEvent } from "./events.js";
import {
  BreakerServiceClient,
  DeclareRequest,
  type DeclareResponse,
  type GetStateResponse,
} from "./gen/fuseboard/v1/breaker_service.js";
import type { PolicyInForce } from "./gen/fuseboard/v1/policy.js";
import type { Guard, LinkState } from "./guard.js";
import type { Settings } from "./options.js";
import { Session } from "./session.js";
import { within } from "./timer.js";
import { millis } from "./view.js";
import { Watch } from "./watch.js";
import { hasWindowRule, localRule } from "./wire.js";

/** An operator's call, or a declaration, that takes longer is given up. */
const UNARY_MS = 5_000;
/** A policy that changed is read again after a time drawn up to this, so that a fleet does not ask at once. */
const POLICY_DELAY_MAX_MS = 1_000;
/** While a connection is closed, how often it is looked whether all was told. */
const LOOK_MS = 2;

const CHANNEL: ChannelOptions = {
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
  // The client has a backoff of its own.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  // A connection of its own, also where another client of this process has the same address.
  "grpc.use_local_subchannel_pool": 1,
};

export interface ConnectionHome {
  settings: Settings;
  link: LinkState;
  guards: Map<string, Guard>;
  clock: () => number;
  onEvent(event: BreakerEvent): void;
  warn(message: string, error?: unknown): void;
}

/** All of a client that waits. */
export class Connection {
  readonly watch: Watch;
  readonly session: Session;
  #client: BreakerServiceClient;
  readonly #metadata = new Metadata();
  /** Versions of the policies that are known, or being read. */
  readonly #policies = new Map<string, number>();
  /** Who waits until something changes. */
  readonly #changes = new Set<() => void>();
  #isClosed = false;

  constructor(private readonly home: ConnectionHome) {
    const { settings } = home;
    if (settings.token) {
      this.#metadata.set("authorization", `Bearer ${settings.token}`);
    }
    this.#client = connect(settings);
    const onChange = () => {
      unref(this.#client);
      for (const changed of this.#changes) {
        changed();
      }
    };
    this.watch = new Watch({
      ...home,
      open: (request) => this.#client.watchEvents(request, this.#metadata),
      onPolicy: (guard, version) => this.#policySeen(guard, version),
      onSilence: (silentMs) => {
        home.warn(`the server was silent for ${silentMs} ms: connecting anew`);
        this.#renew();
      },
      onChange,
    });
    this.session = new Session({
      ...home,
      open: () => this.#client.session(this.#metadata),
      declare: () => this.#declareAll(),
      onFirstAnswer: (guard) => this.#readPolicy(guard, 0),
      onChange,
    });
    for (const guard of home.guards.values()) {
      this.#adopt(guard);
    }
    void this.session.open();
  }

  /** One more breaker. */
  add(guard: Guard): void {
    this.#adopt(guard);
    if (guard.declared) {
      void this.#declare([guard]);
    }
  }

  #adopt(guard: Guard): void {
    if (guard.declared) {
      this.session.undeclared.add(guard.key);
    }
    this.watch.addKeys();
  }

  /** Another connection: the one there is swallows what it is given, perhaps for many minutes to come. */
  #renew(): void {
    const silent = this.#client;
    this.#client = connect(this.home.settings);
    this.session.renew();
    silent.close();
  }

  /** Until every breaker is covered by a watch and the session answers in time; false where that takes longer. */
  async ready(timeoutMs: number): Promise<boolean> {
    const isReady = () =>
      this.home.link.usable &&
      this.session.undeclared.size === 0 &&
      [...this.home.guards.values()].every((guard) => guard.covered);
    let changed = () => {};
    const whole = new Promise<true>((resolve) => {
      changed = () => isReady() && resolve(true);
      this.#changes.add(changed);
      changed();
    });
    const isWhole = await within(whole, timeoutMs);
    this.#changes.delete(changed);
    return isWhole ?? false;
  }

  /** Sends what waits, within `closeTimeoutMs`, and ends everything. */
  async close(): Promise<void> {
    const deadline = performance.now() + this.home.settings.closeTimeoutMs;
    while (!this.session.isFlushed && performance.now() < deadline) {
      this.session.flush();
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    this.#isClosed = true;
    this.session.close();
    this.watch.close();
    this.#client.close();
  }

  // Unary calls.

  state(breaker: string): Promise<GetStateResponse> {
    return this.#unary(breaker, (options, done) => this.#client.getState({ breaker }, this.#metadata, options, done));
  }

  async reset(breaker: string, reason: string, actor: string): Promise<void> {
    const request = { breaker, reason, actor: actor || this.home.settings.caller };
    await this.#unary(breaker, (options, done) => this.#client.reset(request, this.#metadata, options, done));
  }

  /** Declares what the guard has to declare; what is in force comes back. */
  async declare(guard: Guard): Promise<PolicyInForce> {
    const response = await this.#sendDeclarations([guard]);
    return response.declared[0]!.policy!;
  }

  async #declareAll(): Promise<void> {
    const guards = [...this.home.guards.values()].filter((guard) => guard.declared);
    if (guards.length) {
      await this.#declare(guards);
    }
  }

  async #declare(guards: Guard[]): Promise<void> {
    try {
      await this.#sendDeclarations(guards);
    } catch (error) {
      const code = (error as Error & { cause?: ServiceError }).cause?.code;
      if (code !== Code.UNAVAILABLE && code !== Code.DEADLINE_EXCEEDED && !this.#isClosed) {
        this.home.warn(`the policies of ${guards.map((guard) => guard.key).join(", ")} were refused`, error);
      }
    } finally {
      this.session.declared(guards.map((guard) => guard.key));
    }
  }

  async #sendDeclarations(guards: Guard[]): Promise<DeclareResponse> {
    const declarations = guards.map((guard) => guard.declared!);
    const request = DeclareRequest.fromPartial({ declarations, caller: this.home.settings.caller });
    const response = await this.#unary<DeclareResponse>(guards[0]!.key, (options, done) =>
      this.#client.declare(request, this.#metadata, options, done),
    );
    for (const { status, policy } of response.declared) {
      const guard = this.home.guards.get(status?.breaker ?? "");
      if (guard && policy) {
        this.#learnPolicy(guard, policy);
      }
    }
    return response;
  }

  #unary<T>(
    key: string,
    send: (options: { deadline: number }, done: (error: ServiceError | null, response: T) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      // The connection keeps no process alive; somebody who waits does.
      const waiting = setTimeout(() => {}, 2 * UNARY_MS);
      send({ deadline: Date.now() + UNARY_MS }, (error, response) => {
        clearTimeout(waiting);
        if (!error) {
          resolve(response);
        } else if (error.code === Code.NOT_FOUND) {
          reject(new BreakerNotFoundError(`the server has never seen breaker ${key}`, { cause: error }));
        } else {
          reject(new ServerError(`breaker ${key}: ${error.details}`, { cause: error }));
        }
      });
    });
  }

  // Policies.

  #policySeen(guard: Guard, version: number): void {
    if ((this.#policies.get(guard.key) ?? version) !== version) {
      this.#readPolicy(guard, Math.random() * POLICY_DELAY_MAX_MS);
    }
    this.#policies.set(guard.key, version);
  }

  #readPolicy(guard: Guard, delayMs: number): void {
    const read = async () => {
      try {
        const { policy } = await this.state(guard.key);
        if (policy) {
          this.#learnPolicy(guard, policy);
        }
      } catch {
        // The policy that was known before stands until the next one is seen.
      }
    };
    setTimeout(() => !this.#isClosed && void read(), delayMs).unref();
  }

  #learnPolicy(guard: Guard, { policy, version }: PolicyInForce): void {
    this.#policies.set(guard.key, version);
    if (policy) {
      guard.rule = localRule(policy);
      guard.suspects = hasWindowRule(policy);
      guard.slowAfterMs = millis(policy.slowCallDuration);
    }
  }
}

function connect({ address, tls }: Settings): BreakerServiceClient {
  if (!tls) {
    return new BreakerServiceClient(address, credentials.createInsecure(), CHANNEL);
  }
  const name = tls.serverName ? { "grpc.ssl_target_name_override": tls.serverName } : {};
  const ssl = credentials.createSsl(tls.roots ?? null, tls.key ?? null, tls.certificate ?? null);
  return new BreakerServiceClient(address, ssl, { ...CHANNEL, ...name });
}

/**
 * Keeps the connection from keeping the process alive. The library holds on to it as long as a stream is open, and has no
 * option for clients whose streams are always open; where its inside is another one, nothing happens.
 */
function unref(client: BreakerServiceClient): void {
  type Inside = {
    internalChannel?: {
      subchannelPool?: {
        pool?: Record<string, { subchannel?: { transport?: { session?: { unref?: () => void } } } }[]>;
      };
    };
  };
  const pool = (client.getChannel() as unknown as Inside).internalChannel?.subchannelPool?.pool ?? {};
  for (const { subchannel } of Object.values(pool).flat()) {
    subchannel?.transport?.session?.unref?.();
  }
}
