//! A breaker before any tower service.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{Breaker, CallError, Report};

/// What a service's result means.
type Classify<R, E> = Arc<dyn Fn(&Result<R, E>) -> Report + Send + Sync>;

/// Puts a breaker before a service: a request is handed on if the breaker permits it, and its result reported. `R` and `E`
/// are the service's response and error.
pub struct BreakerLayer<R, E> {
    breaker: Breaker,
    classify: Classify<R, E>,
}

impl<R: 'static, E: 'static> BreakerLayer<R, E> {
    /// With [`Report::of`]: an error is a failure, and any response a success. A service that answers with a status in its
    /// response needs [`with_classifier`](Self::with_classifier).
    #[must_use]
    pub fn new(breaker: Breaker) -> Self {
        Self { breaker, classify: Arc::new(Report::of) }
    }

    /// Says what a response or an error means.
    #[must_use]
    pub fn with_classifier(self, classify: impl Fn(&Result<R, E>) -> Report + Send + Sync + 'static) -> Self {
        Self { classify: Arc::new(classify), ..self }
    }
}

impl<R, E> Clone for BreakerLayer<R, E> {
    fn clone(&self) -> Self {
        Self { breaker: self.breaker.clone(), classify: Arc::clone(&self.classify) }
    }
}

impl<S, R, E> Layer<S> for BreakerLayer<R, E> {
    type Service = BreakerService<S, R, E>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService { inner, layer: self.clone() }
    }
}

/// A service behind a breaker. Made by [`BreakerLayer`].
pub struct BreakerService<S, R, E> {
    inner: S,
    layer: BreakerLayer<R, E>,
}

impl<S: Clone, R, E> Clone for BreakerService<S, R, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, Request> Service<Request> for BreakerService<S, S::Response, S::Error>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
    Request: Send + 'static,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, CallError<S::Error>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(CallError::Failed)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that is ready takes the request, and its clone waits for the next.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let BreakerLayer { breaker, classify } = self.layer.clone();
        Box::pin(async move {
            // The request is handed on only once it is permitted.
            let call = async move { inner.call(request).await };
            breaker.execute_with(move |result| classify(result), call).await
        })
    }
}
