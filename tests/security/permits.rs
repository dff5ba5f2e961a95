//! Permits: only what the server has issued counts, for the breaker and the caller it was issued to, and only from somebody
//! who may speak for that caller.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fuseboard::pb::{self, AcquireRequest, CreateTokenRequest, Outcome, ReportRequest, ReportResult, Role};
use http::Method;
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    authority::Folder,
    client::{self, ADMIN_TOKEN, Calls},
    process::Server,
};

type Breakers = pb::breaker_service_client::BreakerServiceClient<Calls>;

const BREAKER: &str = "db";

struct World {
    server: Server,
    /// Bound to the caller `shop`.
    shop: Breakers,
    shop_secret: String,
    /// Bound to the caller `cart`.
    cart: Breakers,
    _folder: Folder,
}

impl World {
    /// A breaker of quorum 2 that trips at three failures in a row.
    async fn new() -> Self {
        let folder = Folder::new();
        let server = Server::start(&[&client::admin_flag(&folder), "--http-address=127.0.0.1:0"]);
        let policy = pb::Policy { failure_threshold: Some(3), min_callers: Some(2), ..Default::default() };
        let set = pb::SetPolicyRequest { pattern: BREAKER.to_owned(), policy: Some(policy), ..Default::default() };
        client::admin(&server, ADMIN_TOKEN).await.set_policy(set).await.unwrap();
        let shop_secret = token(&server, "shop").await;
        let cart_secret = token(&server, "cart").await;
        Self {
            shop: client::breakers(&server, &shop_secret).await,
            cart: client::breakers(&server, &cart_secret).await,
            shop_secret,
            server,
            _folder: folder,
        }
    }

    async fn state(&self) -> pb::GetStateResponse {
        let mut admin = client::breakers(&self.server, ADMIN_TOKEN).await;
        admin.get_state(pb::GetStateRequest { breaker: BREAKER.to_owned() }).await.unwrap().into_inner()
    }

    /// Nothing of a forged report was counted, and nobody was isolated.
    async fn assert_untouched(&self) {
        let state = self.state().await;
        let totals = state.totals.unwrap();
        assert_eq!((totals.failures, totals.successes, totals.opens), (0, 0, 0));
        let status = state.status.unwrap();
        assert_eq!((status.state, status.failures), (pb::State::Closed as i32, 0));
        for caller in state.callers {
            let caller = caller.status.unwrap();
            assert_eq!(caller.state, pb::State::Closed as i32, "{caller:?}");
        }
    }
}

async fn token(server: &Server, caller: &str) -> String {
    let request = CreateTokenRequest {
        name: caller.to_owned(),
        roles: vec![Role::Report as i32],
        caller: caller.to_owned(),
        ..Default::default()
    };
    client::admin(server, ADMIN_TOKEN).await.create_token(request).await.unwrap().into_inner().secret
}

async fn permit(of: &mut Breakers, caller: &str) -> String {
    let request = AcquireRequest { breaker: BREAKER.to_owned(), caller: caller.to_owned(), ..Default::default() };
    let permit = of.acquire(request).await.unwrap().into_inner().permit;
    assert!(!permit.is_empty());
    permit
}

async fn report(of: &mut Breakers, permit: &str, outcome: Outcome) -> Result<ReportResult, Status> {
    let request = ReportRequest {
        breaker: BREAKER.to_owned(),
        permit: permit.to_owned(),
        outcome: outcome as i32,
        ..Default::default()
    };
    of.report(request).await.map(|answer| answer.into_inner().result())
}

/// The same permit, said to be of the caller of another one. Behind the caller are what its identity is bound to, if it is,
/// and the tag.
fn of_caller(permit: &str, other: &str) -> String {
    let [mut bytes, other] = [permit, other].map(|permit| URL_SAFE_NO_PAD.decode(permit).unwrap());
    let at = |permit: &[u8]| permit.len() - if permit[0] & 8 == 0 { 16 } else { 20 };
    let (to, from) = (at(&bytes), at(&other));
    bytes[to..to + 8].copy_from_slice(&other[from..from + 8]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A permit as servers before seals issued it, whose checksum anybody can make.
fn unsealed(caller: &str, generation: u8, serial: u8) -> String {
    let mut bytes = vec![0x10 | 4 | 1];
    bytes.extend(xxh3_64(BREAKER.as_bytes()).to_le_bytes());
    bytes.extend([generation, 0, 1, serial, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
    bytes.extend(xxh3_64(caller.as_bytes()).to_le_bytes());
    bytes.extend(&xxh3_64(&bytes).to_le_bytes()[..2]);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().unwrap().reason)
}

fn forged() -> (Code, String) {
    (Code::InvalidArgument, "PERMIT_FORGED".to_owned())
}

fn not_yours() -> (Code, String) {
    (Code::PermissionDenied, "CALLER_NOT_YOURS".to_owned())
}

#[tokio::test]
async fn a_service_cannot_isolate_another_by_forging_its_failures() {
    let mut world = World::new().await;
    let theirs = permit(&mut world.cart, "cart/1").await;
    for serial in 0..5 {
        let own = permit(&mut world.shop, "shop/1").await;
        let refused = report(&mut world.shop, &of_caller(&own, &theirs), Outcome::Failure).await.unwrap_err();
        assert_eq!(reason(&refused), forged());
        let refused = refused.get_details_bad_request().unwrap();
        assert_eq!(refused.field_violations[0].field, "permit");
        let old = report(&mut world.shop, &unsealed("cart/1", 1, serial), Outcome::Failure).await;
        assert_eq!(old.unwrap(), ReportResult::Stale, "of a server before seals, which is kind to permits in flight");
    }
    world.assert_untouched().await;
}

#[tokio::test]
async fn one_service_cannot_fill_a_quorum_with_forged_callers() {
    let mut world = World::new().await;
    // Another one is known, so it takes two.
    permit(&mut world.cart, "").await;
    let mut admin = client::breakers(&world.server, ADMIN_TOKEN).await;
    let mut permits = Vec::new();
    for _ in 0..9 {
        permits.push(permit(&mut world.shop, "").await);
    }
    for caller in ["shop", "bank/1", "mail/1"] {
        let of = permit(&mut admin, caller).await;
        for own in permits.drain(..3) {
            let refused = report(&mut world.shop, &of_caller(&own, &of), Outcome::Failure).await;
            match caller {
                // Its own name, so that it is the permit as it was.
                "shop" => assert_eq!(refused.unwrap(), ReportResult::Counted),
                _ => assert_eq!(reason(&refused.unwrap_err()), forged()),
            }
        }
    }
    let state = world.state().await.status.unwrap();
    assert_eq!(state.state, pb::State::Closed as i32, "one caller's failures do not open it");
}

#[tokio::test]
async fn a_service_cannot_spend_the_permit_of_another() {
    let mut world = World::new().await;
    let stolen = permit(&mut world.cart, "cart/1").await;
    let refused = report(&mut world.shop, &stolen, Outcome::Failure).await.unwrap_err();
    assert_eq!(reason(&refused), not_yours());
    assert_eq!(
        refused.message(),
        r#"shop may not report a permit of "cart/1": its permits are those of shop, or shop/ and an instance"#
    );
    // In a session, by handle and by key.
    let bytes = URL_SAFE_NO_PAD.decode(&stolen).unwrap();
    let item = |number, handle| pb::SessionReport {
        number,
        handle,
        breaker: if handle == 0 { BREAKER.to_owned() } else { String::new() },
        permit: bytes.clone().into(),
        outcome: Outcome::Failure as i32,
        ..Default::default()
    };
    let frame = pb::SessionRequest {
        introductions: vec![pb::Introduction { handle: 1, breaker: BREAKER.to_owned() }],
        reports: vec![item(1, 1), item(2, 0)],
        ..Default::default()
    };
    let mut answers = world.shop.session(tokio_stream::iter([frame])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap();
    let refused: Vec<_> = answer.errors.iter().map(|error| (error.number, error.code, error.reason.as_str())).collect();
    let denied = Code::PermissionDenied as i32;
    assert_eq!(refused, [(1, denied, "CALLER_NOT_YOURS"), (2, denied, "CALLER_NOT_YOURS")]);
    // Over HTTP.
    let body = format!(r#"{{"permit": "{stolen}", "outcome": "OUTCOME_FAILURE"}}"#);
    let path = format!("/api/v1/breakers/{BREAKER}/report");
    let answer = client::send(&world.server, Method::POST, &path, Some(&world.shop_secret), &body).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["reason"]), (403, &"CALLER_NOT_YOURS".into()));
    world.assert_untouched().await;
    assert_eq!(report(&mut world.cart, &stolen, Outcome::Success).await.unwrap(), ReportResult::Counted);
}

#[tokio::test]
async fn an_instance_reports_for_its_service_and_an_unbound_identity_for_all() {
    let mut world = World::new().await;
    let secret = token(&world.server, "shop/7").await;
    let mut instance = client::breakers(&world.server, &secret).await;
    let own = permit(&mut instance, "").await;
    assert_eq!(report(&mut world.shop, &own, Outcome::Success).await.unwrap(), ReportResult::Counted);
    let of_service = permit(&mut world.shop, "shop").await;
    assert_eq!(reason(&report(&mut instance, &of_service, Outcome::Success).await.unwrap_err()), not_yours());
    let mut admin = client::breakers(&world.server, ADMIN_TOKEN).await;
    assert_eq!(report(&mut admin, &of_service, Outcome::Success).await.unwrap(), ReportResult::Counted);
}

#[tokio::test]
async fn no_byte_of_a_permit_can_be_altered() {
    let mut world = World::new().await;
    let own = permit(&mut world.shop, "").await;
    let bytes = URL_SAFE_NO_PAD.decode(&own).unwrap();
    assert!(bytes.len() <= 64, "{}", bytes.len());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[at] ^= 1 << bit;
            let refused =
                report(&mut world.shop, &URL_SAFE_NO_PAD.encode(&altered), Outcome::Failure).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "byte {at}, bit {bit}: {refused:?}");
        }
    }
    world.assert_untouched().await;
    assert_eq!(report(&mut world.shop, &own, Outcome::Success).await.unwrap(), ReportResult::Counted);
}

#[tokio::test]
async fn the_tokens_of_pages_and_watches_show_nobody_more_than_is_theirs() {
    let mut world = World::new().await;
    let mut everything = client::breakers(&world.server, ADMIN_TOKEN).await;
    for breaker in ["bank/a", "bank/b", "shop/a", "shop/b"] {
        everything.acquire(AcquireRequest { breaker: breaker.to_owned(), ..Default::default() }).await.unwrap();
        everything.reset(pb::ResetRequest { breaker: breaker.to_owned(), ..Default::default() }).await.unwrap();
    }
    let page = pb::ListBreakersRequest { page_size: 1, ..Default::default() };
    let mut admin = client::admin(&world.server, ADMIN_TOKEN).await;
    let page_token = admin.list_breakers(page.clone()).await.unwrap().into_inner().next_page_token;
    let events = pb::ListEventsRequest { page_size: 1, ..Default::default() };
    let events_token = admin.list_events(events.clone()).await.unwrap().into_inner().next_page_token;
    let resume_token =
        admin.get_server_info(pb::GetServerInfoRequest {}).await.unwrap().into_inner().oldest_resume_token;
    let request = CreateTokenRequest {
        name: "reader".to_owned(),
        roles: vec![Role::Read as i32],
        prefixes: vec!["shop/".to_owned()],
        ..Default::default()
    };
    let reader = admin.create_token(request).await.unwrap().into_inner().secret;
    let mut admin = client::admin(&world.server, &reader).await;
    let page = pb::ListBreakersRequest { page_token, ..page };
    let listed = admin.list_breakers(page).await.unwrap().into_inner().breakers;
    assert!(!listed.is_empty() && listed.iter().all(|it| it.breaker.starts_with("shop/")), "{listed:?}");
    let events = pb::ListEventsRequest { page_token: events_token, page_size: 100, ..events };
    let listed = admin.list_events(events).await.unwrap().into_inner().events;
    assert!(!listed.is_empty() && listed.iter().all(|it| it.breaker.starts_with("shop/")), "{listed:?}");
    world.shop = client::breakers(&world.server, &reader).await;
    let request = pb::WatchEventsRequest { resume_token, ..Default::default() };
    let mut events = world.shop.watch_events(request).await.unwrap().into_inner();
    for expected in ["shop/a", "shop/b"] {
        let Some(pb::watch_events_response::Message::Event(event)) = events.next().await.unwrap().unwrap().message
        else {
            panic!("no event")
        };
        assert_eq!(event.breaker, expected);
    }
}

/// A name that `shop` may take and that has the unkeyed hash of `cart/1`, which ids of callers once were: found in 3 s.
const FORGED: &str = "shop/9OjEHZYHeo3jbsbiZVuJy8XLAKRCSIaU579qYzIl0fkZBLUXFRij.jt9BlffPoMlBaBsqStMI2leOXfSED1YrD12H9HLKcQO9rUOWOYjyETIMRnDx2Zk7MF.Ks4";

impl World {
    /// Whether the breaker knows `cart/1` and the forged name as two callers, and the first as one that has not failed.
    async fn assert_two_callers(&self) {
        let callers: Vec<_> = self.state().await.callers.into_iter().filter_map(|caller| caller.status).collect();
        for name in ["cart/1", FORGED] {
            assert_eq!(callers.iter().filter(|caller| caller.caller == name).count(), 1, "{name} in {callers:?}");
        }
        let cart = callers.iter().find(|caller| caller.caller == "cart/1").unwrap();
        assert_eq!((cart.state, cart.failures), (pb::State::Closed as i32, 0));
    }

    /// One frame of a session of `shop` under the forged name.
    async fn session(&mut self, frame: pb::SessionRequest) -> pb::SessionResponse {
        let frame = pb::SessionRequest { caller: FORGED.to_owned(), ..frame };
        let mut answers = self.shop.session(tokio_stream::iter([frame])).await.unwrap().into_inner();
        answers.next().await.unwrap().unwrap()
    }

    async fn http(&self, verb: &str, body: &str) -> client::Answer {
        let path = format!("/api/v1/breakers/{BREAKER}/{verb}");
        client::send(&self.server, Method::POST, &path, Some(&self.shop_secret), body).await
    }
}

/// A batch of `shop` under the forged name.
fn batch(successes: u32, failures: u32) -> pb::ReportBatchRequest {
    let tally = pb::Tally {
        breaker: BREAKER.to_owned(),
        caller: FORGED.to_owned(),
        generation: 1,
        successes,
        failures,
        trailing_failures: failures,
        ..Default::default()
    };
    pb::ReportBatchRequest { client_id: "sdk".to_owned(), batch_sequence: 1, tallies: vec![tally] }
}

fn permit_bytes(permit: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(permit).unwrap()
}

#[tokio::test]
async fn a_name_of_the_same_unkeyed_hash_is_another_caller_in_unary_calls() {
    assert_eq!(xxh3_64(FORGED.as_bytes()), xxh3_64(b"cart/1"));
    let mut world = World::new().await;
    let theirs = permit(&mut world.cart, "cart/1").await;
    for _ in 0..3 {
        let own = permit(&mut world.shop, FORGED).await;
        assert_eq!(report(&mut world.shop, &own, Outcome::Failure).await.unwrap(), ReportResult::Counted);
    }
    world.assert_two_callers().await;
    assert_eq!(reason(&report(&mut world.shop, &theirs, Outcome::Failure).await.unwrap_err()), not_yours());
    assert_eq!(report(&mut world.cart, &theirs, Outcome::Success).await.unwrap(), ReportResult::Counted);
    permit(&mut world.cart, "cart/1").await;
}

#[tokio::test]
async fn a_name_of_the_same_unkeyed_hash_is_another_caller_in_batches() {
    let mut world = World::new().await;
    let theirs = permit(&mut world.cart, "cart/1").await;
    let answer = world.shop.report_batch(batch(0, 5)).await.unwrap().into_inner();
    assert_eq!(answer.counted, 1);
    world.assert_two_callers().await;
    assert_eq!(report(&mut world.cart, &theirs, Outcome::Success).await.unwrap(), ReportResult::Counted);
    permit(&mut world.cart, "cart/1").await;
}

#[tokio::test]
async fn a_name_of_the_same_unkeyed_hash_is_another_caller_in_sessions() {
    let mut world = World::new().await;
    let theirs = permit(&mut world.cart, "cart/1").await;
    let stolen = |number, handle| pb::SessionReport {
        number,
        handle,
        breaker: if handle == 0 { BREAKER.to_owned() } else { String::new() },
        permit: permit_bytes(&theirs).into(),
        outcome: Outcome::Failure as i32,
        ..Default::default()
    };
    let frame = pb::SessionRequest {
        introductions: vec![pb::Introduction { handle: 1, breaker: BREAKER.to_owned() }],
        acquires: vec![pb::SessionAcquire { number: 1, handle: 1, ..Default::default() }],
        reports: vec![stolen(2, 1), stolen(3, 0)],
        batches: vec![pb::SessionBatch { number: 4, batch: Some(batch(0, 5)) }],
        ..Default::default()
    };
    let answer = world.session(frame).await;
    let refused: Vec<_> = answer.errors.iter().map(|error| (error.number, error.reason.as_str())).collect();
    assert_eq!(refused, [(2, "CALLER_NOT_YOURS"), (3, "CALLER_NOT_YOURS")]);
    assert_eq!((answer.acquired.len(), answer.batches.len()), (1, 1), "{answer:?}");
    world.assert_two_callers().await;
    assert_eq!(report(&mut world.cart, &theirs, Outcome::Success).await.unwrap(), ReportResult::Counted);
}

#[tokio::test]
async fn a_name_of_the_same_unkeyed_hash_is_another_caller_over_http() {
    let mut world = World::new().await;
    let theirs = permit(&mut world.cart, "cart/1").await;
    for _ in 0..3 {
        let acquired = world.http("acquire", &format!(r#"{{"caller": "{FORGED}"}}"#)).await.json();
        let own = acquired["permit"].as_str().unwrap();
        let answer = world.http("report", &format!(r#"{{"permit": "{own}", "outcome": "OUTCOME_FAILURE"}}"#)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    world.assert_two_callers().await;
    let answer = world.http("report", &format!(r#"{{"permit": "{theirs}", "outcome": "OUTCOME_FAILURE"}}"#)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["reason"]), (403, &"CALLER_NOT_YOURS".into()));
    assert_eq!(report(&mut world.cart, &theirs, Outcome::Success).await.unwrap(), ReportResult::Counted);
}

#[tokio::test]
async fn a_name_of_the_same_unkeyed_hash_does_not_lock_its_owner_out() {
    for transport in ["unary", "session", "batch", "http"] {
        let mut world = World::new().await;
        match transport {
            "unary" => _ = permit(&mut world.shop, FORGED).await,
            "session" => {
                let introductions = vec![pb::Introduction { handle: 1, breaker: BREAKER.to_owned() }];
                world.session(pb::SessionRequest { introductions, ..Default::default() }).await;
            }
            "batch" => _ = world.shop.report_batch(batch(5, 0)).await.unwrap(),
            _ => _ = world.http("acquire", &format!(r#"{{"caller": "{FORGED}"}}"#)).await,
        }
        let own = permit(&mut world.cart, "cart/1").await;
        assert_eq!(
            report(&mut world.cart, &own, Outcome::Success).await.unwrap(),
            ReportResult::Counted,
            "{transport}"
        );
    }
}
