//! The layer before a service.

use std::{convert::Infallible, time::Duration};

use fuseboard_client::{BreakerLayer, BreakerOptions, CallError, Outcome, Reason, Report, testing::Fake};
use tower::{Service as _, ServiceBuilder, ServiceExt as _};

#[tokio::test]
async fn a_layer_reports_what_its_service_answers_and_rejects_without_calling_it() {
    let fake = Fake::new();
    let client = fake.client().expect("in a runtime");
    let api = client.breaker("api", BreakerOptions::default()).expect("a breaker");
    let layer = BreakerLayer::new(api).with_classifier(|status: &Result<u16, Infallible>| {
        Report::new(if matches!(status, Ok(500..)) { Outcome::Failure } else { Outcome::Success })
    });
    let mut service = ServiceBuilder::new().layer(layer).service_fn(async |status: u16| Ok::<_, Infallible>(status));
    for status in [200, 503] {
        assert_eq!(service.ready().await.expect("ready").call(status).await, Ok(status));
    }
    assert_eq!((fake.count("api", Outcome::Success), fake.count("api", Outcome::Failure)), (1, 1));
    fake.open("api", Duration::from_secs(9));
    let Err(CallError::Rejected(rejection)) = service.ready().await.expect("ready").call(200).await else {
        panic!("it was not rejected");
    };
    assert_eq!(rejection.reason, Reason::Open);
    assert_eq!(fake.count("api", Outcome::Success), 1);
}
