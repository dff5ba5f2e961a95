package dev.fuseboard.testing.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * ClockService moves the time of a server that runs with `--manual-clock`, so that tests need no sleeps. It is not
 * there otherwise.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class ClockServiceGrpc {

  private ClockServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "fuseboard.testing.v1.ClockService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.fuseboard.testing.v1.AdvanceRequest,
      dev.fuseboard.testing.v1.AdvanceResponse> getAdvanceMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Advance",
      requestType = dev.fuseboard.testing.v1.AdvanceRequest.class,
      responseType = dev.fuseboard.testing.v1.AdvanceResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fuseboard.testing.v1.AdvanceRequest,
      dev.fuseboard.testing.v1.AdvanceResponse> getAdvanceMethod() {
    io.grpc.MethodDescriptor<dev.fuseboard.testing.v1.AdvanceRequest, dev.fuseboard.testing.v1.AdvanceResponse> getAdvanceMethod;
    if ((getAdvanceMethod = ClockServiceGrpc.getAdvanceMethod) == null) {
      synchronized (ClockServiceGrpc.class) {
        if ((getAdvanceMethod = ClockServiceGrpc.getAdvanceMethod) == null) {
          ClockServiceGrpc.getAdvanceMethod = getAdvanceMethod =
              io.grpc.MethodDescriptor.<dev.fuseboard.testing.v1.AdvanceRequest, dev.fuseboard.testing.v1.AdvanceResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Advance"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.testing.v1.AdvanceRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fuseboard.testing.v1.AdvanceResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ClockServiceMethodDescriptorSupplier("Advance"))
              .build();
        }
      }
    }
    return getAdvanceMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static ClockServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ClockServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ClockServiceStub>() {
        @java.lang.Override
        public ClockServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ClockServiceStub(channel, callOptions);
        }
      };
    return ClockServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static ClockServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ClockServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ClockServiceBlockingV2Stub>() {
        @java.lang.Override
        public ClockServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ClockServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return ClockServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static ClockServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ClockServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ClockServiceBlockingStub>() {
        @java.lang.Override
        public ClockServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ClockServiceBlockingStub(channel, callOptions);
        }
      };
    return ClockServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static ClockServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ClockServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ClockServiceFutureStub>() {
        @java.lang.Override
        public ClockServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ClockServiceFutureStub(channel, callOptions);
        }
      };
    return ClockServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * ClockService moves the time of a server that runs with `--manual-clock`, so that tests need no sleeps. It is not
   * there otherwise.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Advance moves the server's time forward. Timers that fall due fire in order, each at its own instant, before the
     * answer.
     * Errors: INVALID_ARGUMENT for a duration that is absent, negative or above 10 years. Safe to retry only where moving
     * twice does no harm.
     * </pre>
     */
    default void advance(dev.fuseboard.testing.v1.AdvanceRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.testing.v1.AdvanceResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getAdvanceMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service ClockService.
   * <pre>
   * ClockService moves the time of a server that runs with `--manual-clock`, so that tests need no sleeps. It is not
   * there otherwise.
   * </pre>
   */
  public static abstract class ClockServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return ClockServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service ClockService.
   * <pre>
   * ClockService moves the time of a server that runs with `--manual-clock`, so that tests need no sleeps. It is not
   * there otherwise.
   * </pre>
   */
  public static final class ClockServiceStub
      extends io.grpc.stub.AbstractAsyncStub<ClockServiceStub> {
    private ClockServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ClockServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ClockServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Advance moves the server's time forward. Timers that fall due fire in order, each at its own instant, before the
     * answer.
     * Errors: INVALID_ARGUMENT for a duration that is absent, negative or above 10 years. Safe to retry only where moving
     * twice does no harm.
     * </pre>
     */
    public void advance(dev.fuseboard.testing.v1.AdvanceRequest request,
        io.grpc.stub.StreamObserver<dev.fuseboard.testing.v1.AdvanceResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getAdvanceMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service ClockService.
   * <pre>
   * ClockService moves the time of a server that runs with `--manual-clock`, so that tests need no sleeps. It is not
   * there otherwise.
   * </pre>
   */
  public static final class ClockServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<ClockServiceBlockingV2Stub> {
    private ClockServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ClockServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ClockServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Advance moves the server's time forward. Timers that fall due fire in order, each at its own instant, before the
     * answer.
     * Errors: INVALID_ARGUMENT for a duration that is absent, negative or above 10 years. Safe to retry only where moving
     * twice does no harm.
     * </pre>
     */
    public dev.fuseboard.testing.v1.AdvanceResponse advance(dev.fuseboard.testing.v1.AdvanceRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getAdvanceMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service ClockService.
   * <pre>
   * ClockService moves the time of a server that runs with `--manual-clock`, so that tests need no sleeps. It is not
   * there otherwise.
   * </pre>
   */
  public static final class ClockServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<ClockServiceBlockingStub> {
    private ClockServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ClockServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ClockServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Advance moves the server's time forward. Timers that fall due fire in order, each at its own instant, before the
     * answer.
     * Errors: INVALID_ARGUMENT for a duration that is absent, negative or above 10 years. Safe to retry only where moving
     * twice does no harm.
     * </pre>
     */
    public dev.fuseboard.testing.v1.AdvanceResponse advance(dev.fuseboard.testing.v1.AdvanceRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getAdvanceMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service ClockService.
   * <pre>
   * ClockService moves the time of a server that runs with `--manual-clock`, so that tests need no sleeps. It is not
   * there otherwise.
   * </pre>
   */
  public static final class ClockServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<ClockServiceFutureStub> {
    private ClockServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ClockServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ClockServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Advance moves the server's time forward. Timers that fall due fire in order, each at its own instant, before the
     * answer.
     * Errors: INVALID_ARGUMENT for a duration that is absent, negative or above 10 years. Safe to retry only where moving
     * twice does no harm.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fuseboard.testing.v1.AdvanceResponse> advance(
        dev.fuseboard.testing.v1.AdvanceRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getAdvanceMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_ADVANCE = 0;

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
        case METHODID_ADVANCE:
          serviceImpl.advance((dev.fuseboard.testing.v1.AdvanceRequest) request,
              (io.grpc.stub.StreamObserver<dev.fuseboard.testing.v1.AdvanceResponse>) responseObserver);
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
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getAdvanceMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fuseboard.testing.v1.AdvanceRequest,
              dev.fuseboard.testing.v1.AdvanceResponse>(
                service, METHODID_ADVANCE)))
        .build();
  }

  private static abstract class ClockServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    ClockServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.fuseboard.testing.v1.ClockServiceOuterClass.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("ClockService");
    }
  }

  private static final class ClockServiceFileDescriptorSupplier
      extends ClockServiceBaseDescriptorSupplier {
    ClockServiceFileDescriptorSupplier() {}
  }

  private static final class ClockServiceMethodDescriptorSupplier
      extends ClockServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    ClockServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (ClockServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new ClockServiceFileDescriptorSupplier())
              .addMethod(getAdvanceMethod())
              .build();
        }
      }
    }
    return result;
  }
}
