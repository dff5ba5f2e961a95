package dev.fuseboard.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * BreakerService is for services: ask before a call, report how it went, follow what changes.
 * A rejection is an answer, not an error: a gRPC error means that Fuseboard could not answer. Every error carries a
 * google.rpc.ErrorInfo whose `reason` is stable and whose domain is `fuseboard`, a google.rpc.BadRequest with the
 * field's path where a field is at fault, and a google.rpc.RetryInfo where waiting helps.
 * All RPCs: INVALID_ARGUMENT for a bad field or a message that cannot be read (do not retry), RESOURCE_EXHAUSTED at a
 * limit (retry after the RetryInfo; without one, send less at once), UNAVAILABLE while the
 * server drains (retry with backoff, elsewhere if there is an elsewhere).
 * What is answered has been recorded first. Where the server cannot record, those RPCs that have to fail with UNAVAILABLE
 * (`STORE_UNAVAILABLE`): retry after the RetryInfo. It may yet be recorded when the store is back, so where an RPC counts
 * once, send the same again.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class BreakerServiceGrpc {

  private BreakerServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "fuseboard.v1.BreakerService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.fuseboard.v1.AcquireRequest,
      dev.fuseboard.v1.AcquireResponse> getAcquireMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Acquire",
      requestType = dev.fuseboard.v1.AcquireRequest.class,
      responseType = dev.fuseboard.v1.AcquireResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fuseboard.v1.AcquireRequest,
      dev.fuseboard.v1.AcquireResponse> getAcquireMethod() {
    io.grpc.MethodDescriptor<dev.fuseboard.v1.AcquireRequest, dev.fuseboard.v1.AcquireResponse> getAcquireMethod;
    if ((getAcquireMethod = BreakerServiceGrpc.getAcquireMethod) == null) {
      synchronized (BreakerServiceGrpc.class) {
        if ((getAcquireMethod = BreakerServiceGrpc.getAcquireMethod) == null) {
          BreakerServiceGrpc.getAcquireMethod = getAcquireMethod =
              io.grpc.MethodDescriptor.<dev.fuseboard.v1.AcquireRequest, dev.fuseboard.v1.AcquireResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Acquire"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.AcquireRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.AcquireResponse.getDefaultInstance()))
              .setSchemaDescriptor(new BreakerServiceMethodDescriptorSupplier("Acquire"))
              .build();
        }
      }
    }
    return getAcquireMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fuseboard.v1.ReportRequest,
      dev.fuseboard.v1.ReportResponse> getReportMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Report",
      requestType = dev.fuseboard.v1.ReportRequest.class,
      responseType = dev.fuseboard.v1.ReportResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fuseboard.v1.ReportRequest,
      dev.fuseboard.v1.ReportResponse> getReportMethod() {
    io.grpc.MethodDescriptor<dev.fuseboard.v1.ReportRequest, dev.fuseboard.v1.ReportResponse> getReportMethod;
    if ((getReportMethod = BreakerServiceGrpc.getReportMethod) == null) {
      synchronized (BreakerServiceGrpc.class) {
        if ((getReportMethod = BreakerServiceGrpc.getReportMethod) == null) {
          BreakerServiceGrpc.getReportMethod = getReportMethod =
              io.grpc.MethodDescriptor.<dev.fuseboard.v1.ReportRequest, dev.fuseboard.v1.ReportResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Report"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.ReportRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.ReportResponse.getDefaultInstance()))
              .setSchemaDescriptor(new BreakerServiceMethodDescriptorSupplier("Report"))
              .build();
        }
      }
    }
    return getReportMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fuseboard.v1.ReportBatchRequest,
      dev.fuseboard.v1.ReportBatchResponse> getReportBatchMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ReportBatch",
      requestType = dev.fuseboard.v1.ReportBatchRequest.class,
      responseType = dev.fuseboard.v1.ReportBatchResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fuseboard.v1.ReportBatchRequest,
      dev.fuseboard.v1.ReportBatchResponse> getReportBatchMethod() {
    io.grpc.MethodDescriptor<dev.fuseboard.v1.ReportBatchRequest, dev.fuseboard.v1.ReportBatchResponse> getReportBatchMethod;
    if ((getReportBatchMethod = BreakerServiceGrpc.getReportBatchMethod) == null) {
      synchronized (BreakerServiceGrpc.class) {
        if ((getReportBatchMethod = BreakerServiceGrpc.getReportBatchMethod) == null) {
          BreakerServiceGrpc.getReportBatchMethod = getReportBatchMethod =
              io.grpc.MethodDescriptor.<dev.fuseboard.v1.ReportBatchRequest, dev.fuseboard.v1.ReportBatchResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ReportBatch"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.ReportBatchRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.ReportBatchResponse.getDefaultInstance()))
              .setSchemaDescriptor(new BreakerServiceMethodDescriptorSupplier("ReportBatch"))
              .build();
        }
      }
    }
    return getReportBatchMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fuseboard.v1.SessionRequest,
      dev.fuseboard.v1.SessionResponse> getSessionMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Session",
      requestType = dev.fuseboard.v1.SessionRequest.class,
      responseType = dev.fuseboard.v1.SessionResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.BIDI_STREAMING)
  public static io.grpc.MethodDescriptor<dev.fuseboard.v1.SessionRequest,
      dev.fuseboard.v1.SessionResponse> getSessionMethod() {
    io.grpc.MethodDescriptor<dev.fuseboard.v1.SessionRequest, dev.fuseboard.v1.SessionResponse> getSessionMethod;
    if ((getSessionMethod = BreakerServiceGrpc.getSessionMethod) == null) {
      synchronized (BreakerServiceGrpc.class) {
        if ((getSessionMethod = BreakerServiceGrpc.getSessionMethod) == null) {
          BreakerServiceGrpc.getSessionMethod = getSessionMethod =
              io.grpc.MethodDescriptor.<dev.fuseboard.v1.SessionRequest, dev.fuseboard.v1.SessionResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.BIDI_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Session"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.SessionRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.SessionResponse.getDefaultInstance()))
              .setSchemaDescriptor(new BreakerServiceMethodDescriptorSupplier("Session"))
              .build();
        }
      }
    }
    return getSessionMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fuseboard.v1.DeclareRequest,
      dev.fuseboard.v1.DeclareResponse> getDeclareMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Declare",
      requestType = dev.fuseboard.v1.DeclareRequest.class,
      responseType = dev.fuseboard.v1.DeclareResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fuseboard.v1.DeclareRequest,
      dev.fuseboard.v1.DeclareResponse> getDeclareMethod() {
    io.grpc.MethodDescriptor<dev.fuseboard.v1.DeclareRequest, dev.fuseboard.v1.DeclareResponse> getDeclareMethod;
    if ((getDeclareMethod = BreakerServiceGrpc.getDeclareMethod) == null) {
      synchronized (BreakerServiceGrpc.class) {
        if ((getDeclareMethod = BreakerServiceGrpc.getDeclareMethod) == null) {
          BreakerServiceGrpc.getDeclareMethod = getDeclareMethod =
              io.grpc.MethodDescriptor.<dev.fuseboard.v1.DeclareRequest, dev.fuseboard.v1.DeclareResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Declare"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.DeclareRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.DeclareResponse.getDefaultInstance()))
              .setSchemaDescriptor(new BreakerServiceMethodDescriptorSupplier("Declare"))
              .build();
        }
      }
    }
    return getDeclareMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fuseboard.v1.ResetRequest,
      dev.fuseboard.v1.ResetResponse> getResetMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Reset",
      requestType = dev.fuseboard.v1.ResetRequest.class,
      responseType = dev.fuseboard.v1.ResetResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fuseboard.v1.ResetRequest,
      dev.fuseboard.v1.ResetResponse> getResetMethod() {
    io.grpc.MethodDescriptor<dev.fuseboard.v1.ResetRequest, dev.fuseboard.v1.ResetResponse> getResetMethod;
    if ((getResetMethod = BreakerServiceGrpc.getResetMethod) == null) {
      synchronized (BreakerServiceGrpc.class) {
        if ((getResetMethod = BreakerServiceGrpc.getResetMethod) == null) {
          BreakerServiceGrpc.getResetMethod = getResetMethod =
              io.grpc.MethodDescriptor.<dev.fuseboard.v1.ResetRequest, dev.fuseboard.v1.ResetResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Reset"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.ResetRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.ResetResponse.getDefaultInstance()))
              .setSchemaDescriptor(new BreakerServiceMethodDescriptorSupplier("Reset"))
              .build();
        }
      }
    }
    return getResetMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fuseboard.v1.GetStateRequest,
      dev.fuseboard.v1.GetStateResponse> getGetStateMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetState",
      requestType = dev.fuseboard.v1.GetStateRequest.class,
      responseType = dev.fuseboard.v1.GetStateResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fuseboard.v1.GetStateRequest,
      dev.fuseboard.v1.GetStateResponse> getGetStateMethod() {
    io.grpc.MethodDescriptor<dev.fuseboard.v1.GetStateRequest, dev.fuseboard.v1.GetStateResponse> getGetStateMethod;
    if ((getGetStateMethod = BreakerServiceGrpc.getGetStateMethod) == null) {
      synchronized (BreakerServiceGrpc.class) {
        if ((getGetStateMethod = BreakerServiceGrpc.getGetStateMethod) == null) {
          BreakerServiceGrpc.getGetStateMethod = getGetStateMethod =
              io.grpc.MethodDescriptor.<dev.fuseboard.v1.GetStateRequest, dev.fuseboard.v1.GetStateResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetState"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.GetStateRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.GetStateResponse.getDefaultInstance()))
              .setSchemaDescriptor(new BreakerServiceMethodDescriptorSupplier("GetState"))
              .build();
        }
      }
    }
    return getGetStateMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fuseboard.v1.WatchEventsRequest,
      dev.fuseboard.v1.WatchEventsResponse> getWatchEventsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchEvents",
      requestType = dev.fuseboard.v1.WatchEventsRequest.class,
      responseType = dev.fuseboard.v1.WatchEventsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.fuseboard.v1.WatchEventsRequest,
      dev.fuseboard.v1.WatchEventsResponse> getWatchEventsMethod() {
    io.grpc.MethodDescriptor<dev.fuseboard.v1.WatchEventsRequest, dev.fuseboard.v1.WatchEventsResponse> getWatchEventsMethod;
    if ((getWatchEventsMethod = BreakerServiceGrpc.getWatchEventsMethod) == null) {
      synchronized (BreakerServiceGrpc.class) {
        if ((getWatchEventsMethod = BreakerServiceGrpc.getWatchEventsMethod) == null) {
          BreakerServiceGrpc.getWatchEventsMethod = getWatchEventsMethod =
              io.grpc.MethodDescriptor.<dev.fuseboard.v1.WatchEventsRequest, dev.fuseboard.v1.WatchEventsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchEvents"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.WatchEventsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.v1.WatchEventsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new BreakerServiceMethodDescriptorSupplier("WatchEvents"))
              .build();
        }
      }
    }
    return getWatchEventsMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static BreakerServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<BreakerServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<BreakerServiceStub>() {
        @java.lang.Override
        public BreakerServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new BreakerServiceStub(channel, callOptions);
        }
      };
    return BreakerServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static BreakerServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<BreakerServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<BreakerServiceBlockingV2Stub>() {
        @java.lang.Override
        public BreakerServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new BreakerServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return BreakerServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static BreakerServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<BreakerServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<BreakerServiceBlockingStub>() {
        @java.lang.Override
        public BreakerServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new BreakerServiceBlockingStub(channel, callOptions);
        }
      };
    return BreakerServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static BreakerServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<BreakerServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<BreakerServiceFutureStub>() {
        @java.lang.Override
        public BreakerServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new BreakerServiceFutureStub(channel, callOptions);
        }
      };
    return BreakerServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * BreakerService is for services: ask before a call, report how it went, follow what changes.
   * A rejection is an answer, not an error: a gRPC error means that Fuseboard could not answer. Every error carries a
   * google.rpc.ErrorInfo whose `reason` is stable and whose domain is `fuseboard`, a google.rpc.BadRequest with the
   * field's path where a field is at fault, and a google.rpc.RetryInfo where waiting helps.
   * All RPCs: INVALID_ARGUMENT for a bad field or a message that cannot be read (do not retry), RESOURCE_EXHAUSTED at a
   * limit (retry after the RetryInfo; without one, send less at once), UNAVAILABLE while the
   * server drains (retry with backoff, elsewhere if there is an elsewhere).
   * What is answered has been recorded first. Where the server cannot record, those RPCs that have to fail with UNAVAILABLE
   * (`STORE_UNAVAILABLE`): retry after the RetryInfo. It may yet be recorded when the store is back, so where an RPC counts
   * once, send the same again.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Acquire asks for leave to make one call. A breaker that is not known yet is created, closed, with the policy that
     * fits its key.
     * Errors: INVALID_ARGUMENT; RESOURCE_EXHAUSTED (`BREAKER_LIMIT`) when the key is new and no breaker can be added.
     * Retry with the same `request_id`: the answer is then the same and no second permit is out. Never `STORE_UNAVAILABLE`:
     * where a trip or a probe cannot be recorded, the call is rejected instead, provisionally.
     * </pre>
     */
    default void acquire(dev.fuseboard.v1.AcquireRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.AcquireResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getAcquireMethod(), responseObserver);
    }

    /**
     * <pre>
     * Report says how a permitted call went. It counts once, however often it is sent.
     * Errors: INVALID_ARGUMENT for a permit that is not one, or is of another breaker; UNAVAILABLE (`STORE_UNAVAILABLE`).
     * Safe to retry.
     * </pre>
     */
    default void report(dev.fuseboard.v1.ReportRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.ReportResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReportMethod(), responseObserver);
    }

    /**
     * <pre>
     * ReportBatch brings the counts of calls that a client decided on by itself while breakers were closed.
     * Errors: INVALID_ARGUMENT refuses the whole batch, and counts nothing; RESOURCE_EXHAUSTED (`CLIENT_LIMIT`) when too
     * many clients send batches; UNAVAILABLE (`STORE_UNAVAILABLE`, `DRAINING`). Safe to retry with the same `batch_sequence`: what
     * was counted before the error or a cancellation is not counted again, and the rest is.
     * </pre>
     */
    default void reportBatch(dev.fuseboard.v1.ReportBatchRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.ReportBatchResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReportBatchMethod(), responseObserver);
    }

    /**
     * <pre>
     * Session carries Acquire, Report and ReportBatch on one stream, one or many in a frame, many in flight. Each frame
     * of the client is answered by one frame, with an answer or an error for every item, under the number it was given.
     * What has to wait for the store (a trip, a probe) is answered in a later one, and later frames are not held up by it.
     * The server sends no first message. A session on which nothing happens gets an empty frame every 7.5 to 15 s, because
     * proxies cut silent streams; readers ignore it.
     * An item at fault is answered by an error of its own and the session goes on. The stream ends with INVALID_ARGUMENT
     * for a frame that cannot be read, RESOURCE_EXHAUSTED for one above the limits, and OK after a goodbye. What has no
     * answer when a session ends is sent again on the next one, with the same request ids, permits and batch sequences.
     * </pre>
     */
    default io.grpc.stub.StreamObserver<dev.fuseboard.v1.SessionRequest> session(
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.SessionResponse> responseObserver) {
      return io.grpc.stub.ServerCalls.asyncUnimplementedStreamingCall(getSessionMethod(), responseObserver);
    }

    /**
     * <pre>
     * Declare states the policies that a service wants for its breakers, usually when it starts. What is declared
     * replaces the default's trip rules as a whole (a rule left out is off) and inherits the default's other fields.
     * Operators' policies stand above it: the answer says what is in force, and a difference is not an error.
     * Errors: INVALID_ARGUMENT for any bad declaration, and then none is taken; RESOURCE_EXHAUSTED (`BREAKER_LIMIT`);
     * UNAVAILABLE (`STORE_UNAVAILABLE`). Safe to retry.
     * </pre>
     */
    default void declare(dev.fuseboard.v1.DeclareRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.DeclareResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeclareMethod(), responseObserver);
    }

    /**
     * <pre>
     * Reset closes a breaker, with empty statistics and backoff. An override stays.
     * Errors: NOT_FOUND (`BREAKER_NOT_FOUND`) for a key never seen; UNAVAILABLE (`STORE_UNAVAILABLE`). A retry resets again.
     * </pre>
     */
    default void reset(dev.fuseboard.v1.ResetRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.ResetResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getResetMethod(), responseObserver);
    }

    /**
     * <pre>
     * GetState tells all about one breaker.
     * Errors: NOT_FOUND (`BREAKER_NOT_FOUND`) for a key never seen; UNAVAILABLE (`STORE_UNAVAILABLE`) where the breaker has
     * just moved and that is not recorded yet. Safe to retry.
     * </pre>
     */
    default void getState(dev.fuseboard.v1.GetStateRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.GetStateResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetStateMethod(), responseObserver);
    }

    /**
     * <pre>
     * WatchEvents follows what happens to breakers: ordered, each event once, none skipped, and resumable.
     * The first message comes at once: a snapshot chunk, or with a `resume_token` the first event after it, or a progress
     * message where there is none yet, or a resync where the token is of no use. A reader that falls behind the event log
     * gets a resync and a new snapshot. The server says goodbye before it ends a stream by itself.
     * Errors: INVALID_ARGUMENT for a bad filter or token; RESOURCE_EXHAUSTED (`WATCHER_LIMIT`). After any end, watch again
     * with the last token, after the goodbye's delay or a backoff with jitter.
     * </pre>
     */
    default void watchEvents(dev.fuseboard.v1.WatchEventsRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.WatchEventsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchEventsMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service BreakerService.
   * <pre>
   * BreakerService is for services: ask before a call, report how it went, follow what changes.
   * A rejection is an answer, not an error: a gRPC error means that Fuseboard could not answer. Every error carries a
   * google.rpc.ErrorInfo whose `reason` is stable and whose domain is `fuseboard`, a google.rpc.BadRequest with the
   * field's path where a field is at fault, and a google.rpc.RetryInfo where waiting helps.
   * All RPCs: INVALID_ARGUMENT for a bad field or a message that cannot be read (do not retry), RESOURCE_EXHAUSTED at a
   * limit (retry after the RetryInfo; without one, send less at once), UNAVAILABLE while the
   * server drains (retry with backoff, elsewhere if there is an elsewhere).
   * What is answered has been recorded first. Where the server cannot record, those RPCs that have to fail with UNAVAILABLE
   * (`STORE_UNAVAILABLE`): retry after the RetryInfo. It may yet be recorded when the store is back, so where an RPC counts
   * once, send the same again.
   * </pre>
   */
  public static abstract class BreakerServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return BreakerServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service BreakerService.
   * <pre>
   * BreakerService is for services: ask before a call, report how it went, follow what changes.
   * A rejection is an answer, not an error: a gRPC error means that Fuseboard could not answer. Every error carries a
   * google.rpc.ErrorInfo whose `reason` is stable and whose domain is `fuseboard`, a google.rpc.BadRequest with the
   * field's path where a field is at fault, and a google.rpc.RetryInfo where waiting helps.
   * All RPCs: INVALID_ARGUMENT for a bad field or a message that cannot be read (do not retry), RESOURCE_EXHAUSTED at a
   * limit (retry after the RetryInfo; without one, send less at once), UNAVAILABLE while the
   * server drains (retry with backoff, elsewhere if there is an elsewhere).
   * What is answered has been recorded first. Where the server cannot record, those RPCs that have to fail with UNAVAILABLE
   * (`STORE_UNAVAILABLE`): retry after the RetryInfo. It may yet be recorded when the store is back, so where an RPC counts
   * once, send the same again.
   * </pre>
   */
  public static final class BreakerServiceStub
      extends io.grpc.stub.AbstractAsyncStub<BreakerServiceStub> {
    private BreakerServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected BreakerServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new BreakerServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Acquire asks for leave to make one call. A breaker that is not known yet is created, closed, with the policy that
     * fits its key.
     * Errors: INVALID_ARGUMENT; RESOURCE_EXHAUSTED (`BREAKER_LIMIT`) when the key is new and no breaker can be added.
     * Retry with the same `request_id`: the answer is then the same and no second permit is out. Never `STORE_UNAVAILABLE`:
     * where a trip or a probe cannot be recorded, the call is rejected instead, provisionally.
     * </pre>
     */
    public void acquire(dev.fuseboard.v1.AcquireRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.AcquireResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getAcquireMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Report says how a permitted call went. It counts once, however often it is sent.
     * Errors: INVALID_ARGUMENT for a permit that is not one, or is of another breaker; UNAVAILABLE (`STORE_UNAVAILABLE`).
     * Safe to retry.
     * </pre>
     */
    public void report(dev.fuseboard.v1.ReportRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.ReportResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getReportMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ReportBatch brings the counts of calls that a client decided on by itself while breakers were closed.
     * Errors: INVALID_ARGUMENT refuses the whole batch, and counts nothing; RESOURCE_EXHAUSTED (`CLIENT_LIMIT`) when too
     * many clients send batches; UNAVAILABLE (`STORE_UNAVAILABLE`, `DRAINING`). Safe to retry with the same `batch_sequence`: what
     * was counted before the error or a cancellation is not counted again, and the rest is.
     * </pre>
     */
    public void reportBatch(dev.fuseboard.v1.ReportBatchRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.ReportBatchResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getReportBatchMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Session carries Acquire, Report and ReportBatch on one stream, one or many in a frame, many in flight. Each frame
     * of the client is answered by one frame, with an answer or an error for every item, under the number it was given.
     * What has to wait for the store (a trip, a probe) is answered in a later one, and later frames are not held up by it.
     * The server sends no first message. A session on which nothing happens gets an empty frame every 7.5 to 15 s, because
     * proxies cut silent streams; readers ignore it.
     * An item at fault is answered by an error of its own and the session goes on. The stream ends with INVALID_ARGUMENT
     * for a frame that cannot be read, RESOURCE_EXHAUSTED for one above the limits, and OK after a goodbye. What has no
     * answer when a session ends is sent again on the next one, with the same request ids, permits and batch sequences.
     * </pre>
     */
    public io.grpc.stub.StreamObserver<dev.fuseboard.v1.SessionRequest> session(
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.SessionResponse> responseObserver) {
      return io.grpc.stub.ClientCalls.asyncBidiStreamingCall(
          getChannel().newCall(getSessionMethod(), getCallOptions()), responseObserver);
    }

    /**
     * <pre>
     * Declare states the policies that a service wants for its breakers, usually when it starts. What is declared
     * replaces the default's trip rules as a whole (a rule left out is off) and inherits the default's other fields.
     * Operators' policies stand above it: the answer says what is in force, and a difference is not an error.
     * Errors: INVALID_ARGUMENT for any bad declaration, and then none is taken; RESOURCE_EXHAUSTED (`BREAKER_LIMIT`);
     * UNAVAILABLE (`STORE_UNAVAILABLE`). Safe to retry.
     * </pre>
     */
    public void declare(dev.fuseboard.v1.DeclareRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.DeclareResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeclareMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Reset closes a breaker, with empty statistics and backoff. An override stays.
     * Errors: NOT_FOUND (`BREAKER_NOT_FOUND`) for a key never seen; UNAVAILABLE (`STORE_UNAVAILABLE`). A retry resets again.
     * </pre>
     */
    public void reset(dev.fuseboard.v1.ResetRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.ResetResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getResetMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * GetState tells all about one breaker.
     * Errors: NOT_FOUND (`BREAKER_NOT_FOUND`) for a key never seen; UNAVAILABLE (`STORE_UNAVAILABLE`) where the breaker has
     * just moved and that is not recorded yet. Safe to retry.
     * </pre>
     */
    public void getState(dev.fuseboard.v1.GetStateRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.GetStateResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetStateMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * WatchEvents follows what happens to breakers: ordered, each event once, none skipped, and resumable.
     * The first message comes at once: a snapshot chunk, or with a `resume_token` the first event after it, or a progress
     * message where there is none yet, or a resync where the token is of no use. A reader that falls behind the event log
     * gets a resync and a new snapshot. The server says goodbye before it ends a stream by itself.
     * Errors: INVALID_ARGUMENT for a bad filter or token; RESOURCE_EXHAUSTED (`WATCHER_LIMIT`). After any end, watch again
     * with the last token, after the goodbye's delay or a backoff with jitter.
     * </pre>
     */
    public void watchEvents(dev.fuseboard.v1.WatchEventsRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.v1.WatchEventsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchEventsMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service BreakerService.
   * <pre>
   * BreakerService is for services: ask before a call, report how it went, follow what changes.
   * A rejection is an answer, not an error: a gRPC error means that Fuseboard could not answer. Every error carries a
   * google.rpc.ErrorInfo whose `reason` is stable and whose domain is `fuseboard`, a google.rpc.BadRequest with the
   * field's path where a field is at fault, and a google.rpc.RetryInfo where waiting helps.
   * All RPCs: INVALID_ARGUMENT for a bad field or a message that cannot be read (do not retry), RESOURCE_EXHAUSTED at a
   * limit (retry after the RetryInfo; without one, send less at once), UNAVAILABLE while the
   * server drains (retry with backoff, elsewhere if there is an elsewhere).
   * What is answered has been recorded first. Where the server cannot record, those RPCs that have to fail with UNAVAILABLE
   * (`STORE_UNAVAILABLE`): retry after the RetryInfo. It may yet be recorded when the store is back, so where an RPC counts
   * once, send the same again.
   * </pre>
   */
  public static final class BreakerServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<BreakerServiceBlockingV2Stub> {
    private BreakerServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected BreakerServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new BreakerServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Acquire asks for leave to make one call. A breaker that is not known yet is created, closed, with the policy that
     * fits its key.
     * Errors: INVALID_ARGUMENT; RESOURCE_EXHAUSTED (`BREAKER_LIMIT`) when the key is new and no breaker can be added.
     * Retry with the same `request_id`: the answer is then the same and no second permit is out. Never `STORE_UNAVAILABLE`:
     * where a trip or a probe cannot be recorded, the call is rejected instead, provisionally.
     * </pre>
     */
    public dev.fuseboard.v1.AcquireResponse acquire(dev.fuseboard.v1.AcquireRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getAcquireMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Report says how a permitted call went. It counts once, however often it is sent.
     * Errors: INVALID_ARGUMENT for a permit that is not one, or is of another breaker; UNAVAILABLE (`STORE_UNAVAILABLE`).
     * Safe to retry.
     * </pre>
     */
    public dev.fuseboard.v1.ReportResponse report(dev.fuseboard.v1.ReportRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getReportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ReportBatch brings the counts of calls that a client decided on by itself while breakers were closed.
     * Errors: INVALID_ARGUMENT refuses the whole batch, and counts nothing; RESOURCE_EXHAUSTED (`CLIENT_LIMIT`) when too
     * many clients send batches; UNAVAILABLE (`STORE_UNAVAILABLE`, `DRAINING`). Safe to retry with the same `batch_sequence`: what
     * was counted before the error or a cancellation is not counted again, and the rest is.
     * </pre>
     */
    public dev.fuseboard.v1.ReportBatchResponse reportBatch(dev.fuseboard.v1.ReportBatchRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getReportBatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Session carries Acquire, Report and ReportBatch on one stream, one or many in a frame, many in flight. Each frame
     * of the client is answered by one frame, with an answer or an error for every item, under the number it was given.
     * What has to wait for the store (a trip, a probe) is answered in a later one, and later frames are not held up by it.
     * The server sends no first message. A session on which nothing happens gets an empty frame every 7.5 to 15 s, because
     * proxies cut silent streams; readers ignore it.
     * An item at fault is answered by an error of its own and the session goes on. The stream ends with INVALID_ARGUMENT
     * for a frame that cannot be read, RESOURCE_EXHAUSTED for one above the limits, and OK after a goodbye. What has no
     * answer when a session ends is sent again on the next one, with the same request ids, permits and batch sequences.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<dev.fuseboard.v1.SessionRequest, dev.fuseboard.v1.SessionResponse>
        session() {
      return io.grpc.stub.ClientCalls.blockingBidiStreamingCall(
          getChannel(), getSessionMethod(), getCallOptions());
    }

    /**
     * <pre>
     * Declare states the policies that a service wants for its breakers, usually when it starts. What is declared
     * replaces the default's trip rules as a whole (a rule left out is off) and inherits the default's other fields.
     * Operators' policies stand above it: the answer says what is in force, and a difference is not an error.
     * Errors: INVALID_ARGUMENT for any bad declaration, and then none is taken; RESOURCE_EXHAUSTED (`BREAKER_LIMIT`);
     * UNAVAILABLE (`STORE_UNAVAILABLE`). Safe to retry.
     * </pre>
     */
    public dev.fuseboard.v1.DeclareResponse declare(dev.fuseboard.v1.DeclareRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDeclareMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reset closes a breaker, with empty statistics and backoff. An override stays.
     * Errors: NOT_FOUND (`BREAKER_NOT_FOUND`) for a key never seen; UNAVAILABLE (`STORE_UNAVAILABLE`). A retry resets again.
     * </pre>
     */
    public dev.fuseboard.v1.ResetResponse reset(dev.fuseboard.v1.ResetRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getResetMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetState tells all about one breaker.
     * Errors: NOT_FOUND (`BREAKER_NOT_FOUND`) for a key never seen; UNAVAILABLE (`STORE_UNAVAILABLE`) where the breaker has
     * just moved and that is not recorded yet. Safe to retry.
     * </pre>
     */
    public dev.fuseboard.v1.GetStateResponse getState(dev.fuseboard.v1.GetStateRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetStateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * WatchEvents follows what happens to breakers: ordered, each event once, none skipped, and resumable.
     * The first message comes at once: a snapshot chunk, or with a `resume_token` the first event after it, or a progress
     * message where there is none yet, or a resync where the token is of no use. A reader that falls behind the event log
     * gets a resync and a new snapshot. The server says goodbye before it ends a stream by itself.
     * Errors: INVALID_ARGUMENT for a bad filter or token; RESOURCE_EXHAUSTED (`WATCHER_LIMIT`). After any end, watch again
     * with the last token, after the goodbye's delay or a backoff with jitter.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.fuseboard.v1.WatchEventsResponse>
        watchEvents(dev.fuseboard.v1.WatchEventsRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchEventsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service BreakerService.
   * <pre>
   * BreakerService is for services: ask before a call, report how it went, follow what changes.
   * A rejection is an answer, not an error: a gRPC error means that Fuseboard could not answer. Every error carries a
   * google.rpc.ErrorInfo whose `reason` is stable and whose domain is `fuseboard`, a google.rpc.BadRequest with the
   * field's path where a field is at fault, and a google.rpc.RetryInfo where waiting helps.
   * All RPCs: INVALID_ARGUMENT for a bad field or a message that cannot be read (do not retry), RESOURCE_EXHAUSTED at a
   * limit (retry after the RetryInfo; without one, send less at once), UNAVAILABLE while the
   * server drains (retry with backoff, elsewhere if there is an elsewhere).
   * What is answered has been recorded first. Where the server cannot record, those RPCs that have to fail with UNAVAILABLE
   * (`STORE_UNAVAILABLE`): retry after the RetryInfo. It may yet be recorded when the store is back, so where an RPC counts
   * once, send the same again.
   * </pre>
   */
  public static final class BreakerServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<BreakerServiceBlockingStub> {
    private BreakerServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected BreakerServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new BreakerServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Acquire asks for leave to make one call. A breaker that is not known yet is created, closed, with the policy that
     * fits its key.
     * Errors: INVALID_ARGUMENT; RESOURCE_EXHAUSTED (`BREAKER_LIMIT`) when the key is new and no breaker can be added.
     * Retry with the same `request_id`: the answer is then the same and no second permit is out. Never `STORE_UNAVAILABLE`:
     * where a trip or a probe cannot be recorded, the call is rejected instead, provisionally.
     * </pre>
     */
    public dev.fuseboard.v1.AcquireResponse acquire(dev.fuseboard.v1.AcquireRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getAcquireMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Report says how a permitted call went. It counts once, however often it is sent.
     * Errors: INVALID_ARGUMENT for a permit that is not one, or is of another breaker; UNAVAILABLE (`STORE_UNAVAILABLE`).
     * Safe to retry.
     * </pre>
     */
    public dev.fuseboard.v1.ReportResponse report(dev.fuseboard.v1.ReportRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getReportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ReportBatch brings the counts of calls that a client decided on by itself while breakers were closed.
     * Errors: INVALID_ARGUMENT refuses the whole batch, and counts nothing; RESOURCE_EXHAUSTED (`CLIENT_LIMIT`) when too
     * many clients send batches; UNAVAILABLE (`STORE_UNAVAILABLE`, `DRAINING`). Safe to retry with the same `batch_sequence`: what
     * was counted before the error or a cancellation is not counted again, and the rest is.
     * </pre>
     */
    public dev.fuseboard.v1.ReportBatchResponse reportBatch(dev.fuseboard.v1.ReportBatchRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getReportBatchMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Declare states the policies that a service wants for its breakers, usually when it starts. What is declared
     * replaces the default's trip rules as a whole (a rule left out is off) and inherits the default's other fields.
     * Operators' policies stand above it: the answer says what is in force, and a difference is not an error.
     * Errors: INVALID_ARGUMENT for any bad declaration, and then none is taken; RESOURCE_EXHAUSTED (`BREAKER_LIMIT`);
     * UNAVAILABLE (`STORE_UNAVAILABLE`). Safe to retry.
     * </pre>
     */
    public dev.fuseboard.v1.DeclareResponse declare(dev.fuseboard.v1.DeclareRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeclareMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reset closes a breaker, with empty statistics and backoff. An override stays.
     * Errors: NOT_FOUND (`BREAKER_NOT_FOUND`) for a key never seen; UNAVAILABLE (`STORE_UNAVAILABLE`). A retry resets again.
     * </pre>
     */
    public dev.fuseboard.v1.ResetResponse reset(dev.fuseboard.v1.ResetRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getResetMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetState tells all about one breaker.
     * Errors: NOT_FOUND (`BREAKER_NOT_FOUND`) for a key never seen; UNAVAILABLE (`STORE_UNAVAILABLE`) where the breaker has
     * just moved and that is not recorded yet. Safe to retry.
     * </pre>
     */
    public dev.fuseboard.v1.GetStateResponse getState(dev.fuseboard.v1.GetStateRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetStateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * WatchEvents follows what happens to breakers: ordered, each event once, none skipped, and resumable.
     * The first message comes at once: a snapshot chunk, or with a `resume_token` the first event after it, or a progress
     * message where there is none yet, or a resync where the token is of no use. A reader that falls behind the event log
     * gets a resync and a new snapshot. The server says goodbye before it ends a stream by itself.
     * Errors: INVALID_ARGUMENT for a bad filter or token; RESOURCE_EXHAUSTED (`WATCHER_LIMIT`). After any end, watch again
     * with the last token, after the goodbye's delay or a backoff with jitter.
     * </pre>
     */
    public java.util.Iterator<dev.fuseboard.v1.WatchEventsResponse> watchEvents(
        dev.fuseboard.v1.WatchEventsRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchEventsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service BreakerService.
   * <pre>
   * BreakerService is for services: ask before a call, report how it went, follow what changes.
   * A rejection is an answer, not an error: a gRPC error means that Fuseboard could not answer. Every error carries a
   * google.rpc.ErrorInfo whose `reason` is stable and whose domain is `fuseboard`, a google.rpc.BadRequest with the
   * field's path where a field is at fault, and a google.rpc.RetryInfo where waiting helps.
   * All RPCs: INVALID_ARGUMENT for a bad field or a message that cannot be read (do not retry), RESOURCE_EXHAUSTED at a
   * limit (retry after the RetryInfo; without one, send less at once), UNAVAILABLE while the
   * server drains (retry with backoff, elsewhere if there is an elsewhere).
   * What is answered has been recorded first. Where the server cannot record, those RPCs that have to fail with UNAVAILABLE
   * (`STORE_UNAVAILABLE`): retry after the RetryInfo. It may yet be recorded when the store is back, so where an RPC counts
   * once, send the same again.
   * </pre>
   */
  public static final class BreakerServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<BreakerServiceFutureStub> {
    private BreakerServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected BreakerServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new BreakerServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Acquire asks for leave to make one call. A breaker that is not known yet is created, closed, with the policy that
     * fits its key.
     * Errors: INVALID_ARGUMENT; RESOURCE_EXHAUSTED (`BREAKER_LIMIT`) when the key is new and no breaker can be added.
     * Retry with the same `request_id`: the answer is then the same and no second permit is out. Never `STORE_UNAVAILABLE`:
     * where a trip or a probe cannot be recorded, the call is rejected instead, provisionally.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fuseboard.v1.AcquireResponse> acquire(
        dev.fuseboard.v1.AcquireRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getAcquireMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Report says how a permitted call went. It counts once, however often it is sent.
     * Errors: INVALID_ARGUMENT for a permit that is not one, or is of another breaker; UNAVAILABLE (`STORE_UNAVAILABLE`).
     * Safe to retry.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fuseboard.v1.ReportResponse> report(
        dev.fuseboard.v1.ReportRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getReportMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * ReportBatch brings the counts of calls that a client decided on by itself while breakers were closed.
     * Errors: INVALID_ARGUMENT refuses the whole batch, and counts nothing; RESOURCE_EXHAUSTED (`CLIENT_LIMIT`) when too
     * many clients send batches; UNAVAILABLE (`STORE_UNAVAILABLE`, `DRAINING`). Safe to retry with the same `batch_sequence`: what
     * was counted before the error or a cancellation is not counted again, and the rest is.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fuseboard.v1.ReportBatchResponse> reportBatch(
        dev.fuseboard.v1.ReportBatchRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getReportBatchMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Declare states the policies that a service wants for its breakers, usually when it starts. What is declared
     * replaces the default's trip rules as a whole (a rule left out is off) and inherits the default's other fields.
     * Operators' policies stand above it: the answer says what is in force, and a difference is not an error.
     * Errors: INVALID_ARGUMENT for any bad declaration, and then none is taken; RESOURCE_EXHAUSTED (`BREAKER_LIMIT`);
     * UNAVAILABLE (`STORE_UNAVAILABLE`). Safe to retry.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fuseboard.v1.DeclareResponse> declare(
        dev.fuseboard.v1.DeclareRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeclareMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Reset closes a breaker, with empty statistics and backoff. An override stays.
     * Errors: NOT_FOUND (`BREAKER_NOT_FOUND`) for a key never seen; UNAVAILABLE (`STORE_UNAVAILABLE`). A retry resets again.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fuseboard.v1.ResetResponse> reset(
        dev.fuseboard.v1.ResetRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getResetMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * GetState tells all about one breaker.
     * Errors: NOT_FOUND (`BREAKER_NOT_FOUND`) for a key never seen; UNAVAILABLE (`STORE_UNAVAILABLE`) where the breaker has
     * just moved and that is not recorded yet. Safe to retry.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fuseboard.v1.GetStateResponse> getState(
        dev.fuseboard.v1.GetStateRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetStateMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_ACQUIRE = 0;
  private static final int METHODID_REPORT = 1;
  private static final int METHODID_REPORT_BATCH = 2;
  private static final int METHODID_DECLARE = 3;
  private static final int METHODID_RESET = 4;
  private static final int METHODID_GET_STATE = 5;
  private static final int METHODID_WATCH_EVENTS = 6;
  private static final int METHODID_SESSION = 7;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_ACQUIRE:
          serviceImpl.acquire((dev.fuseboard.v1.AcquireRequest) request,
              (io.grpc.stub.StreamObserver<dev.fuseboard.v1.AcquireResponse>) responseObserver);
          break;
        case METHODID_REPORT:
          serviceImpl.report((dev.fuseboard.v1.ReportRequest) request,
              (io.grpc.stub.StreamObserver<dev.fuseboard.v1.ReportResponse>) responseObserver);
          break;
        case METHODID_REPORT_BATCH:
          serviceImpl.reportBatch((dev.fuseboard.v1.ReportBatchRequest) request,
              (io.grpc.stub.StreamObserver<dev.fuseboard.v1.ReportBatchResponse>) responseObserver);
          break;
        case METHODID_DECLARE:
          serviceImpl.declare((dev.fuseboard.v1.DeclareRequest) request,
              (io.grpc.stub.StreamObserver<dev.fuseboard.v1.DeclareResponse>) responseObserver);
          break;
        case METHODID_RESET:
          serviceImpl.reset((dev.fuseboard.v1.ResetRequest) request,
              (io.grpc.stub.StreamObserver<dev.fuseboard.v1.ResetResponse>) responseObserver);
          break;
        case METHODID_GET_STATE:
          serviceImpl.getState((dev.fuseboard.v1.GetStateRequest) request,
              (io.grpc.stub.StreamObserver<dev.fuseboard.v1.GetStateResponse>) responseObserver);
          break;
        case METHODID_WATCH_EVENTS:
          serviceImpl.watchEvents((dev.fuseboard.v1.WatchEventsRequest) request,
              (io.grpc.stub.StreamObserver<dev.fuseboard.v1.WatchEventsResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_SESSION:
          return (io.grpc.stub.StreamObserver<Req>) serviceImpl.session(
              (io.grpc.stub.StreamObserver<dev.fuseboard.v1.SessionResponse>) responseObserver);
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getAcquireMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fuseboard.v1.AcquireRequest,
              dev.fuseboard.v1.AcquireResponse>(
                service, METHODID_ACQUIRE)))
        .addMethod(
          getReportMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fuseboard.v1.ReportRequest,
              dev.fuseboard.v1.ReportResponse>(
                service, METHODID_REPORT)))
        .addMethod(
          getReportBatchMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fuseboard.v1.ReportBatchRequest,
              dev.fuseboard.v1.ReportBatchResponse>(
                service, METHODID_REPORT_BATCH)))
        .addMethod(
          getSessionMethod(),
          io.grpc.stub.ServerCalls.asyncBidiStreamingCall(
            new MethodHandlers<
              dev.fuseboard.v1.SessionRequest,
              dev.fuseboard.v1.SessionResponse>(
                service, METHODID_SESSION)))
        .addMethod(
          getDeclareMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fuseboard.v1.DeclareRequest,
              dev.fuseboard.v1.DeclareResponse>(
                service, METHODID_DECLARE)))
        .addMethod(
          getResetMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fuseboard.v1.ResetRequest,
              dev.fuseboard.v1.ResetResponse>(
                service, METHODID_RESET)))
        .addMethod(
          getGetStateMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fuseboard.v1.GetStateRequest,
              dev.fuseboard.v1.GetStateResponse>(
                service, METHODID_GET_STATE)))
        .addMethod(
          getWatchEventsMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.fuseboard.v1.WatchEventsRequest,
              dev.fuseboard.v1.WatchEventsResponse>(
                service, METHODID_WATCH_EVENTS)))
        .build();
  }

  private static abstract class BreakerServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    BreakerServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.fuseboard.v1.BreakerServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("BreakerService");
    }
  }

  private static final class BreakerServiceFileDescriptorSupplier
      extends BreakerServiceBaseDescriptorSupplier {
    BreakerServiceFileDescriptorSupplier() {}
  }

  private static final class BreakerServiceMethodDescriptorSupplier
      extends BreakerServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    BreakerServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (BreakerServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new BreakerServiceFileDescriptorSupplier())
              .addMethod(getAcquireMethod())
              .addMethod(getReportMethod())
              .addMethod(getReportBatchMethod())
              .addMethod(getSessionMethod())
              .addMethod(getDeclareMethod())
              .addMethod(getResetMethod())
              .addMethod(getGetStateMethod())
              .addMethod(getWatchEventsMethod())
              .build();
        }
      }
    }
    return result;
  }
}
