package dev.fuseboard;

import dev.fuseboard.v1.BreakerServiceGrpc;
import dev.fuseboard.v1.Declaration;
import dev.fuseboard.v1.DeclareRequest;
import dev.fuseboard.v1.DeclareResponse;
import dev.fuseboard.v1.Declared;
import dev.fuseboard.v1.GetStateRequest;
import dev.fuseboard.v1.GetStateResponse;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.ArrayDeque;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/** Declares what breakers want, and learns which policy is in force. It runs on the client's own thread. */
final class Policies {
  /** Bounds one Declare or GetState in the background. */
  private static final long TIMEOUT_S = 3;

  /** Keeps a request of the longest declarations below the server's 64 KiB. */
  private static final int DECLARATIONS_MAX = 100;

  /** Spreads the clients that ask for a policy that has changed for all of them. */
  private static final long REFRESH_WITHIN = 1_000_000_000L;

  private final FuseboardClient client;
  private boolean isAsking;

  Policies(FuseboardClient client) {
    this.client = client;
  }

  /** A breaker's policy is to be asked for. */
  void refresh(Core core) {
    core.isPolicyDue = true;
    wake();
  }

  /** Something is to be declared or asked for. */
  void wake() {
    client.execute(
        () -> {
          if (!client.link.isUsable) {
            return;
          }
          declare(client.cores().stream().filter(core -> !core.isDeclared).toList(), () -> {});
          if (!isAsking && client.cores().stream().anyMatch(core -> core.isPolicyDue)) {
            isAsking = true;
            client.schedule(this::askAll, Retry.evenly(REFRESH_WITHIN));
          }
        });
  }

  private void askAll() {
    isAsking = false;
    for (Core core : client.cores()) {
      if (core.isPolicyDue) {
        core.isPolicyDue = false;
        GetStateRequest request = GetStateRequest.newBuilder().setBreaker(core.key).build();
        // Where there is no answer it is asked for again at the next change, or by the next declaration.
        stub().getState(request, answer((GetStateResponse state) -> core.applyPolicy(state.getPolicy()), status -> {}));
      }
    }
  }

  /** Declares everything again for a new session, and goes on. */
  void declareAll(Runnable then) {
    client.cores().forEach(core -> core.isDeclared = false);
    declare(client.cores(), then);
  }

  private void declare(List<Core> cores, Runnable then) {
    ArrayDeque<Core> waiting = new ArrayDeque<>();
    cores.stream().filter(core -> core.options.policy() != null).forEach(waiting::add);
    declareSome(waiting, DECLARATIONS_MAX, then);
  }

  /** Declares so many in a request, and the rest after it. Where one is at fault none is taken: each is tried alone. */
  private void declareSome(ArrayDeque<Core> waiting, int most, Runnable then) {
    if (waiting.isEmpty()) {
      then.run();
      return;
    }
    List<Core> some = waiting.stream().limit(most).toList();
    DeclareRequest.Builder request = DeclareRequest.newBuilder().setCaller(client.caller());
    for (Core core : some) {
      Declaration.Builder declaration =
          Declaration.newBuilder()
              .setBreaker(core.key)
              .setPolicy(core.options.policy().message())
              .setRevision(core.options.revision());
      request.addDeclarations(declaration);
    }
    Consumer<DeclareResponse> taken =
        response -> {
          for (int i = 0; i < Math.min(some.size(), response.getDeclaredCount()); i++) {
            take(some.get(i), response.getDeclared(i));
          }
          waiting.removeAll(some);
          declareSome(waiting, most, then);
        };
    Consumer<Status> refused =
        status -> {
          boolean isAtFault =
              status.getCode() == Status.Code.INVALID_ARGUMENT || status.getCode() == Status.Code.RESOURCE_EXHAUSTED;
          if (!isAtFault) {
            // The next session declares again.
            client.warn("could not declare: " + status);
            then.run();
          } else if (most > 1) {
            declareSome(waiting, 1, then);
          } else {
            Core core = waiting.removeFirst();
            client.warn("the policy of " + core.key + " was refused: " + status.getDescription());
            core.isDeclared = true;
            declareSome(waiting, 1, then);
          }
        };
    stub().declare(request.build(), answer(taken, refused));
  }

  private void take(Core core, Declared declared) {
    core.applyPolicy(declared.getPolicy());
    client.apply(core, known -> known.applyStatus(declared.getStatus(), client.caller(), null, client.now()));
    if (declared.getPolicy().getDiffersFromDeclared()) {
      client.info("an operator's policy stands above the declared one of " + core.key);
    }
    core.isDeclared = true;
  }

  private BreakerServiceGrpc.BreakerServiceStub stub() {
    return BreakerServiceGrpc.newStub(client.connection.channel()).withDeadlineAfter(TIMEOUT_S, TimeUnit.SECONDS);
  }

  private static <T> StreamObserver<T> answer(Consumer<T> answered, Consumer<Status> failed) {
    return new StreamObserver<>() {
      @Override
      public void onNext(T value) {
        answered.accept(value);
      }

      @Override
      public void onError(Throwable error) {
        failed.accept(Status.fromThrowable(error));
      }

      @Override
      public void onCompleted() {}
    };
  }
}
