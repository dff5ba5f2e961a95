//! Tokens: made, used, bounded, revoked, expired, and kept over a restart; and what the audit trail says of it all.

use std::{path::PathBuf, time::Duration};

use fuseboard::pb::{
    self, AcquireRequest, CreateTokenRequest, Role, testing::clock_service_client::ClockServiceClient,
};
use http::Method;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    authority::{Authority, Folder, SERVER},
    client::{self, ADMIN_TOKEN, Bearer},
    process::Server,
    tls,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn wanted(name: &str, roles: &[Role]) -> CreateTokenRequest {
    let roles = roles.iter().map(|role| *role as i32).collect();
    CreateTokenRequest { name: name.to_owned(), roles, ..CreateTokenRequest::default() }
}

async fn create(server: &Server, request: CreateTokenRequest) -> String {
    client::admin(server, ADMIN_TOKEN).await.create_token(request).await.unwrap().into_inner().secret
}

fn acquire(breaker: &str, caller: &str) -> AcquireRequest {
    AcquireRequest { breaker: breaker.to_owned(), caller: caller.to_owned(), ..AcquireRequest::default() }
}

fn guarded(folder: &Folder) -> Server {
    Server::start(&[&client::admin_flag(folder), "--http-address=127.0.0.1:0"])
}

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn a_refusal_says_who_may_not_do_what_and_what_it_would_take() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let nobody = client::breakers(&server, "of-nobody").await.acquire(acquire("a", "")).await.unwrap_err();
    assert_eq!((nobody.code(), reason(&nobody).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"));
    let secret =
        create(&server, CreateTokenRequest { prefixes: vec!["shop/".to_owned()], ..wanted("web", &[Role::Report]) })
            .await;
    let mut web = client::breakers(&server, &secret).await;
    let outside = web.acquire(acquire("bank", "")).await.unwrap_err();
    assert_eq!(outside.message(), r#"web may not use "bank": it is bounded to keys that begin with shop/"#);
    assert_eq!((outside.code(), reason(&outside).as_str()), (Code::PermissionDenied, "OUTSIDE_PREFIXES"));
    let role = web.reset(pb::ResetRequest { breaker: "shop/a".to_owned(), ..Default::default() }).await.unwrap_err();
    assert_eq!(role.message(), "web may not call fuseboard.v1.BreakerService/Reset: it needs the role operate");
    assert_eq!(reason(&role), "ROLE_MISSING");
    let over_http = client::send(&server, Method::POST, "/api/v1/breakers/bank/acquire", Some(&secret), "{}").await;
    assert_eq!((over_http.status.as_u16(), &over_http.json()["error"]["reason"]), (403, &"OUTSIDE_PREFIXES".into()));
}

#[tokio::test]
async fn an_empty_filter_is_exactly_what_the_token_is_bounded_to() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let mut everything = client::breakers(&server, ADMIN_TOKEN).await;
    for key in ["shop/a", "shop/b", "shopping", "bank"] {
        everything.acquire(acquire(key, "")).await.unwrap();
    }
    let prefixes = vec!["shop/".to_owned()];
    let secret =
        create(&server, CreateTokenRequest { prefixes, ..wanted("reader", &[Role::Read, Role::Operate]) }).await;
    let mut admin = client::admin(&server, &secret).await;
    let listed = admin.list_breakers(pb::ListBreakersRequest::default()).await.unwrap().into_inner().breakers;
    assert_eq!(listed.iter().map(|it| it.breaker.as_str()).collect::<Vec<_>>(), ["shop/a", "shop/b"]);
    let wider = pb::ListBreakersRequest { prefix: "shop".to_owned(), ..Default::default() };
    assert_eq!(admin.list_breakers(wider).await.unwrap_err().code(), Code::PermissionDenied);
    let mut watch = client::breakers(&server, &secret).await;
    let mut events = watch.watch_events(pb::WatchEventsRequest::default()).await.unwrap().into_inner();
    let first = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    let Some(pb::watch_events_response::Message::Snapshot(snapshot)) = first.message else { panic!("{first:?}") };
    let seen: Vec<_> = snapshot.breakers.iter().map(|it| it.breaker.as_str()).collect();
    assert_eq!(seen, ["shop/a", "shop/b"]);
    for key in ["bank", "shop/a"] {
        everything.reset(pb::ResetRequest { breaker: key.to_owned(), ..Default::default() }).await.unwrap();
    }
    let next = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    let Some(pb::watch_events_response::Message::Event(event)) = next.message else { panic!("{next:?}") };
    assert_eq!(event.breaker, "shop/a", "the other's reset came first and is not told");
    let history = admin.list_events(pb::ListEventsRequest::default()).await.unwrap().into_inner().events;
    assert!(history.iter().all(|event| event.breaker == "shop/a"), "{history:?}");
    let health = client::get(&server, "/health/circuit-breakers", Some(&secret)).await.json();
    assert_eq!(health["total"], 2);
}

#[tokio::test]
async fn a_token_bounds_whom_a_service_may_call_itself() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let secret =
        create(&server, CreateTokenRequest { caller: "shop".to_owned(), ..wanted("shop", &[Role::Report]) }).await;
    let mut shop = client::breakers(&server, &secret).await;
    for caller in ["", "shop", "shop/7"] {
        shop.acquire(acquire("db", caller)).await.unwrap();
    }
    let strange = shop.acquire(acquire("db", "bank/1")).await.unwrap_err();
    assert_eq!((strange.code(), reason(&strange).as_str()), (Code::PermissionDenied, "CALLER_NOT_YOURS"));
    let state = shop.get_state(pb::GetStateRequest { breaker: "db".to_owned() }).await.unwrap().into_inner();
    let callers: Vec<_> = state.callers.iter().map(|it| it.status.as_ref().unwrap().caller.as_str()).collect();
    assert_eq!(callers.iter().filter(|caller| **caller == "shop").count(), 1, "{callers:?}");
    assert!(!callers.contains(&""), "who gives no name counts under the token's: {callers:?}");
    let frame = pb::SessionRequest { caller: "bank/1".to_owned(), ..Default::default() };
    let answer = shop.session(tokio_stream::iter([frame])).await.unwrap().into_inner().next().await.unwrap().unwrap();
    assert_eq!(answer.errors[0].reason, "CALLER_NOT_YOURS");
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_its_streams_end() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let secret = create(&server, wanted("gone", &[Role::Report])).await;
    let mut gone = client::breakers(&server, &secret).await;
    let mut events = gone.watch_events(pb::WatchEventsRequest::default()).await.unwrap().into_inner();
    assert!(timeout(PATIENCE, events.next()).await.unwrap().unwrap().is_ok());
    let mut admin = client::admin(&server, ADMIN_TOKEN).await;
    let revoke = pb::RevokeTokenRequest { name: "gone".to_owned(), reason: "leaked".to_owned() };
    admin.revoke_token(revoke.clone()).await.unwrap();
    let told = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(told.message, Some(pb::watch_events_response::Message::Goodbye(_))), "{told:?}");
    assert!(timeout(PATIENCE, events.next()).await.unwrap().is_none(), "and the stream ends");
    assert_eq!(gone.acquire(acquire("a", "")).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(reason(&admin.revoke_token(revoke).await.unwrap_err()), "TOKEN_NOT_FOUND");
}

#[tokio::test]
async fn a_token_is_good_until_it_expires_and_no_longer() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let hour = prost_types::Duration { seconds: 3600, nanos: 0 };
    let secret =
        create(&server, CreateTokenRequest { expire_after: Some(hour), ..wanted("brief", &[Role::Report]) }).await;
    let mut brief = client::breakers(&server, &secret).await;
    brief.acquire(acquire("a", "")).await.unwrap();
    let channel = client::channel(&server).await;
    let mut clock = ClockServiceClient::with_interceptor(channel, Bearer::of(ADMIN_TOKEN));
    clock.advance(pb::testing::AdvanceRequest { duration: Some(hour) }).await.unwrap();
    let expired = brief.acquire(acquire("a", "")).await.unwrap_err();
    assert_eq!((expired.code(), expired.message()), (Code::Unauthenticated, "who are you? the token has expired"));
}

#[tokio::test]
async fn what_a_token_may_be_is_checked_field_by_field() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let mut admin = client::admin(&server, ADMIN_TOKEN).await;
    let good = wanted("good", &[Role::Report]);
    let half_a_second = prost_types::Duration { seconds: 0, nanos: 500_000_000 };
    let cases = [
        ("name", CreateTokenRequest { name: String::new(), ..good.clone() }),
        ("name", CreateTokenRequest { name: "a".repeat(65), ..good.clone() }),
        ("name", CreateTokenRequest { name: "a b".to_owned(), ..good.clone() }),
        ("roles", CreateTokenRequest { roles: vec![], ..good.clone() }),
        ("roles[1]", CreateTokenRequest { roles: vec![1, 9], ..good.clone() }),
        ("prefixes[0]", CreateTokenRequest { prefixes: vec![String::new()], ..good.clone() }),
        ("prefixes", CreateTokenRequest { prefixes: vec!["a".to_owned(); 101], ..good.clone() }),
        (
            "prefixes",
            CreateTokenRequest { roles: vec![Role::Admin as i32], prefixes: vec!["a".to_owned()], ..good.clone() },
        ),
        ("caller", CreateTokenRequest { caller: "a\n".to_owned(), ..good.clone() }),
        ("expire_after", CreateTokenRequest { expire_after: Some(half_a_second), ..good.clone() }),
        ("reason", CreateTokenRequest { reason: "a\u{1b}".to_owned(), ..good.clone() }),
    ];
    for (field, request) in cases {
        let refused = admin.create_token(request).await.unwrap_err();
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, field, "{refused:?}");
    }
    admin.create_token(good.clone()).await.unwrap();
    let twice = admin.create_token(good).await.unwrap_err();
    assert_eq!((twice.code(), reason(&twice).as_str()), (Code::AlreadyExists, "TOKEN_EXISTS"));
}

#[tokio::test]
async fn a_token_is_not_named_like_another_identity() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let identity = "[[identity]]\nname = 'shop'\ncertificate = 'shop.test'\nroles = ['report']\n";
    let mut flags = folder.server(&authority.issue(SERVER));
    flags.extend(["--tls-client-ca".to_owned(), folder.file("clients.pem", &authority.pem())]);
    flags.extend(["--config".to_owned(), folder.file("fuseboard.toml", identity), client::admin_flag(&folder)]);
    let mut server = Server::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let connector = tls::connector(&authority, Some(&authority.issue("admin.test")), b"h2");
    let channel = tls::channel(server.address(), connector).await.unwrap();
    let mut admin = pb::admin_service_client::AdminServiceClient::with_interceptor(channel, Bearer::of(ADMIN_TOKEN));
    for taken in ["admin-token-file", "shop"] {
        let refused = admin.create_token(wanted(taken, &[Role::Admin])).await.unwrap_err();
        let violations = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "name");
        assert!(violations[0].description.contains("the audit trail could not tell them apart"), "{refused:?}");
    }
    admin.create_token(wanted("cart", &[Role::Report])).await.unwrap();
    folder.file("fuseboard.toml", &identity.replace("shop", "cart"));
    server.hang_up();
    server.wait_for_log("a token has this name too");
    let named = identity.replace("'shop'", "'admin-token-file'");
    let told = Server::refused(&["--config", &folder.file("named.toml", &named)]);
    assert!(told.contains("is the name of the administrators' token"), "{told}");
}

#[tokio::test]
async fn only_who_may_report_makes_a_caller_known() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let service = create(&server, wanted("service", &[Role::Report])).await;
    let mut service = client::breakers(&server, &service).await;
    service.acquire(acquire("db", "shop/1")).await.unwrap();
    let known = async || {
        let mut admin = client::breakers(&server, ADMIN_TOKEN).await;
        let state = admin.get_state(pb::GetStateRequest { breaker: "db".to_owned() }).await.unwrap().into_inner();
        state.callers.into_iter().map(|caller| caller.status.unwrap().caller).collect::<Vec<_>>()
    };
    let watch = |caller: &str| pb::WatchEventsRequest {
        filter: Some(pb::WatchFilter { breakers: vec!["db".to_owned()], ..Default::default() }),
        caller: caller.to_owned(),
        ..Default::default()
    };
    for role in [Role::Read, Role::Operate] {
        let secret = create(&server, wanted(role.as_str_name(), &[role])).await;
        let mut watcher = client::breakers(&server, &secret).await;
        for number in 0..5 {
            let mut events = watcher.watch_events(watch(&format!("made-up/{number}"))).await.unwrap().into_inner();
            timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        }
        // Where a caller stands is told to who may look.
        let mut events = watcher.watch_events(watch("shop/1")).await.unwrap().into_inner();
        let first = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        let Some(pb::watch_events_response::Message::Snapshot(snapshot)) = first.message else { panic!("{first:?}") };
        assert_eq!(snapshot.breakers[0].caller.as_ref().unwrap().caller, "shop/1");
    }
    assert_eq!(known().await, ["shop/1"]);
    let mut events = service.watch_events(watch("shop/2")).await.unwrap().into_inner();
    timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    let mut callers = known().await;
    callers.sort();
    assert_eq!(callers, ["shop/1", "shop/2"]);
}

#[tokio::test]
async fn words_that_turn_the_direction_of_writing_are_refused_wherever_they_come_in() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let mut admin = client::breakers(&server, ADMIN_TOKEN).await;
    admin.acquire(acquire("db", "")).await.unwrap();
    let turned = "all fine \u{202e}olleh";
    for (actor, reason) in [(turned, ""), ("", turned)] {
        let reset = pb::ResetRequest { breaker: "db".to_owned(), actor: actor.to_owned(), reason: reason.to_owned() };
        assert_eq!(admin.reset(reset).await.unwrap_err().code(), Code::InvalidArgument);
        let body = format!(r#"{{"actor": "{actor}", "reason": "{reason}"}}"#);
        let path = "/api/v1/breakers/db/reset";
        let answer = client::send(&server, Method::POST, path, Some(ADMIN_TOKEN), &body).await;
        let field = if reason.is_empty() { "actor" } else { "reason" };
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]["field"]), (400, &field.into()));
    }
    let named = "[[identity]]\nname = \"sh\u{202e}op\"\ncertificate = 'shop.test'\nroles = ['report']\n";
    let told = Server::refused(&["--config", &folder.file("fuseboard.toml", named)]);
    assert!(told.contains("marks of direction"), "{told}");
}

#[tokio::test]
async fn without_identities_everybody_may_do_everything_but_make_tokens() {
    let server = Server::start(&[]);
    let channel = client::channel(&server).await;
    let mut admin = pb::admin_service_client::AdminServiceClient::new(channel);
    assert!(!admin.get_identity(pb::GetIdentityRequest {}).await.unwrap().into_inner().authenticated);
    let refused = admin.create_token(wanted("a", &[Role::Report])).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "AUTHENTICATION_OFF"));
}

#[tokio::test]
async fn what_operators_do_is_in_the_audit_trail_under_their_identity() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let secret =
        create(&server, CreateTokenRequest { reason: "for ana".to_owned(), ..wanted("ana", &[Role::Operate]) }).await;
    let mut ana = client::admin(&server, &secret).await;
    let override_to = |mode: pb::OverrideMode| pb::SetOverrideRequest {
        breaker: "db".to_owned(),
        mode: mode as i32,
        actor: "root".to_owned(),
        reason: "drill".to_owned(),
        ..Default::default()
    };
    ana.set_override(override_to(pb::OverrideMode::ForcedOpen)).await.unwrap();
    ana.clear_override(pb::ClearOverrideRequest { breaker: "db".to_owned(), ..Default::default() }).await.unwrap();
    let policy = Some(pb::Policy {
        probes: Some(3),
        open_duration: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
        ..Default::default()
    });
    let set = pb::SetPolicyRequest { pattern: "db*".to_owned(), policy, ..Default::default() };
    ana.set_policy(set).await.unwrap();
    ana.delete_policy(pb::DeletePolicyRequest { pattern: "db*".to_owned(), ..Default::default() }).await.unwrap();
    client::breakers(&server, &secret)
        .await
        .reset(pb::ResetRequest { breaker: "db".to_owned(), actor: "unknown".to_owned(), ..Default::default() })
        .await
        .unwrap();
    ana.delete_breaker(pb::DeleteBreakerRequest { breaker: "db".to_owned(), ..Default::default() }).await.unwrap();
    let mut admin = client::admin(&server, ADMIN_TOKEN).await;
    admin.revoke_token(pb::RevokeTokenRequest { name: "ana".to_owned(), reason: "left".to_owned() }).await.unwrap();

    let mut trail = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListAuditRequest { page_size: 3, page_token, ..Default::default() };
        let page = admin.list_audit(request).await.unwrap().into_inner();
        trail.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let told: Vec<_> =
        trail.iter().rev().map(|it| [&*it.actor, &*it.action, &*it.target, &*it.reason, &*it.detail]).collect();
    assert_eq!(
        told,
        [
            ["admin-token-file", "token_created", "ana", "for ana", "operate"],
            ["ana (root)", "override_set", "db", "drill", "forced_open, id default"],
            ["ana", "override_cleared", "db", "", "id default"],
            ["ana", "policy_set", "db*", "", "open_duration 1m 30s, probes 3"],
            ["ana", "policy_deleted", "db*", "", ""],
            ["ana", "reset", "db", "", ""],
            ["ana", "breaker_deleted", "db", "", ""],
            ["admin-token-file", "token_revoked", "ana", "left", ""],
        ]
    );
    assert_eq!(trail.iter().map(|it| it.sequence).collect::<Vec<_>>(), (1..=8).rev().collect::<Vec<_>>());
    let of_db = pb::ListAuditRequest { target: "db".to_owned(), ..Default::default() };
    assert_eq!(admin.list_audit(of_db).await.unwrap().into_inner().entries.len(), 4);
    let mut events = admin.list_events(pb::ListEventsRequest::default()).await.unwrap().into_inner().events.into_iter();
    assert_eq!(events.next().unwrap().actor, "ana (root)", "the history has the same actor");
}

#[tokio::test]
async fn tokens_and_the_audit_trail_outlive_the_server_and_secrets_are_nowhere() {
    let folder = Folder::new();
    let home = PathBuf::from(folder.file("home", "")).with_file_name("data");
    let flags = [client::admin_flag(&folder), format!("--data-dir={}", home.display())];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::start_lasting(&flags);
    let secret = create(&server, wanted("kept", &[Role::Report])).await;
    let revoked = create(&server, wanted("revoked", &[Role::Report])).await;
    let mut admin = client::admin(&server, ADMIN_TOKEN).await;
    admin.revoke_token(pb::RevokeTokenRequest { name: "revoked".to_owned(), ..Default::default() }).await.unwrap();
    // Killed, not stopped: what was answered is there.
    drop(server);
    let stored = std::fs::read(home.join("fuseboard.redb")).unwrap();
    for secret in [&secret, &revoked] {
        let found = stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
        assert!(!found, "a secret is stored");
    }
    let server = Server::start_lasting(&flags);
    client::breakers(&server, &secret).await.acquire(acquire("a", "")).await.unwrap();
    let refused = client::breakers(&server, &revoked).await.acquire(acquire("a", "")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut admin = client::admin(&server, ADMIN_TOKEN).await;
    let listed = admin.list_tokens(pb::ListTokensRequest::default()).await.unwrap().into_inner().tokens;
    assert_eq!(listed.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["kept"]);
    assert_eq!(admin.list_audit(pb::ListAuditRequest::default()).await.unwrap().into_inner().entries.len(), 3);
}

#[tokio::test]
async fn a_certificate_is_an_identity_where_the_file_says_so_and_a_reload_takes_it_away() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let identity = "[[identity]]\nname = 'shop'\ncertificate = 'spiffe://cluster/shop'\nroles = ['report']\nprefixes = ['shop/']\n";
    let mut flags = folder.server(&authority.issue(SERVER));
    flags.extend(["--tls-client-ca".to_owned(), folder.file("clients.pem", &authority.pem())]);
    flags.extend(["--config".to_owned(), folder.file("fuseboard.toml", identity)]);
    let mut server = Server::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let client = async |name: &str| {
        let connector = tls::connector(&authority, Some(&authority.issue(name)), b"h2");
        let channel = tls::channel(server.address(), connector).await.unwrap();
        pb::breaker_service_client::BreakerServiceClient::new(channel)
    };
    let mut shop = client("spiffe://cluster/shop").await;
    let mut other = client("spiffe://cluster/other").await;
    shop.acquire(acquire("shop/db", "")).await.unwrap();
    assert_eq!(shop.acquire(acquire("bank", "")).await.unwrap_err().code(), Code::PermissionDenied);
    let unknown = other.acquire(acquire("shop/db", "")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unauthenticated);
    assert!(unknown.message().contains("has no name that an [[identity]] has"), "{unknown:?}");
    folder.file("fuseboard.toml", &identity.replace("cluster/shop", "cluster/other"));
    server.hang_up();
    server.wait_for_log("policies reloaded");
    assert_eq!(shop.acquire(acquire("shop/db", "")).await.unwrap_err().code(), Code::Unauthenticated);
    other.acquire(acquire("shop/db", "")).await.unwrap();
}

#[tokio::test]
async fn a_browser_signs_in_with_a_cookie_that_other_sites_cannot_use() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let wrong = client::send(&server, Method::POST, "/api/v1/login", None, r#"{"token":"wrong"}"#).await;
    assert_eq!(wrong.status.as_u16(), 401);
    let login =
        client::send(&server, Method::POST, "/api/v1/login", None, &format!(r#"{{"token":"{ADMIN_TOKEN}"}}"#)).await;
    let cookie = login.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = ("cookie", cookie.split(';').next().unwrap().to_owned());
    let signed_in =
        client::send_with(&server, Method::GET, "/api/v1/identity", std::slice::from_ref(&cookie), "").await;
    assert_eq!(signed_in.json()["name"], "admin-token-file");
    let reset = "/api/v1/breakers/a/reset";
    let cross_site = [cookie.clone(), ("origin", "https://example.org".to_owned())];
    assert_eq!(client::send_with(&server, Method::POST, reset, &cross_site, "{}").await.status.as_u16(), 403);
    let own = [cookie, ("origin", "http://localhost".to_owned())];
    assert_eq!(
        client::send_with(&server, Method::POST, reset, &own, "{}").await.status.as_u16(),
        404,
        "no such breaker"
    );
    let logout = client::send_with(&server, Method::POST, "/api/v1/logout", &own, "{}").await;
    assert!(logout.headers["set-cookie"].to_str().unwrap().starts_with("fuseboard=; Path=/; Max-Age=0; "));
    let signed_out = client::send_with(&server, Method::GET, "/api/v1/identity", &own, "").await;
    assert_eq!(signed_out.status.as_u16(), 401, "a cookie that was copied is good for nothing then");
}

#[tokio::test]
async fn the_cookie_is_no_token_and_ends_with_the_token() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let secret = create(&server, wanted("ana", &[Role::Read])).await;
    let body = format!(r#"{{"token":"{secret}"}}"#);
    let login = async || {
        let login = client::send(&server, Method::POST, "/api/v1/login", None, &body).await;
        let cookie = login.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        [("cookie", cookie)]
    };
    let (one, other) = (login().await, login().await);
    let id = one[0].1.strip_prefix("fuseboard=").unwrap();
    assert_ne!(one, other);
    assert!(id.len() == 43 && !secret.contains(id), "{id}");
    let refused = client::get(&server, "/api/v1/identity", Some(id)).await;
    assert_eq!(refused.status.as_u16(), 401, "it is no token");
    for cookie in [&one, &other] {
        let answer = client::send_with(&server, Method::GET, "/api/v1/identity", cookie, "").await;
        assert_eq!(answer.json()["name"], "ana");
    }
    client::send_with(&server, Method::POST, "/api/v1/logout", &one, "{}").await;
    let status = async |cookie: &[(&str, String); 1]| {
        client::send_with(&server, Method::GET, "/api/v1/identity", cookie, "").await.status.as_u16()
    };
    assert_eq!((status(&one).await, status(&other).await), (401, 200), "each is signed out by itself");
    let mut admin = client::admin(&server, ADMIN_TOKEN).await;
    admin.revoke_token(pb::RevokeTokenRequest { name: "ana".to_owned(), ..Default::default() }).await.unwrap();
    assert_eq!(status(&other).await, 401, "it ends with its token");
}

#[tokio::test]
async fn a_declaration_tells_who_declared_it_and_no_revision_keeps_another_identity_out() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let declare = |revision: u64, threshold: u32| pb::DeclareRequest {
        declarations: vec![pb::Declaration {
            breaker: "db".to_owned(),
            policy: Some(pb::Policy { failure_threshold: Some(threshold), ..Default::default() }),
            revision,
        }],
        ..Default::default()
    };
    let mut told = Vec::new();
    for (name, revision, threshold) in [("shop", 7, 2), ("mallory", u64::MAX, 9), ("cart", 1, 3)] {
        let secret = create(&server, wanted(name, &[Role::Report])).await;
        let mut service = client::breakers(&server, &secret).await;
        let mut declared = service.declare(declare(revision, threshold)).await.unwrap().into_inner().declared;
        let policy = declared.remove(0).policy.unwrap();
        assert!(policy.declare_time.is_some());
        told.push((policy.declared_by, policy.declared_revision));
    }
    let expected = [("shop", 7), ("mallory", u64::MAX), ("cart", 1)].map(|(by, revision)| (by.to_owned(), revision));
    assert_eq!(told, expected);
    let mut admin = client::breakers(&server, ADMIN_TOKEN).await;
    let state = admin.get_state(pb::GetStateRequest { breaker: "db".to_owned() }).await.unwrap().into_inner();
    assert_eq!(state.policy.unwrap().declared_by, "cart");
}

#[tokio::test]
async fn an_operator_drops_a_declaration_whose_revision_has_jumped() {
    let folder = Folder::new();
    let server = guarded(&folder);
    let secret = create(&server, wanted("shop", &[Role::Report])).await;
    let mut shop = client::breakers(&server, &secret).await;
    let mut declare = async |revision: u64| {
        let policy = Some(pb::Policy { failure_threshold: Some(2), ..Default::default() });
        let declarations = vec![pb::Declaration { breaker: "db".to_owned(), policy, revision }];
        let declared = shop.declare(pb::DeclareRequest { declarations, ..Default::default() }).await.unwrap();
        declared.into_inner().declared.remove(0).policy.unwrap().declared_revision
    };
    assert_eq!((declare(u64::MAX).await, declare(8).await), (u64::MAX, u64::MAX));
    let path = "/api/v1/breakers/db/declaration";
    let dropped = client::send(&server, Method::DELETE, path, Some(ADMIN_TOKEN), r#"{"reason": "a jump"}"#).await;
    assert_eq!((dropped.status.as_u16(), &dropped.json()["status"]["breaker"]), (200, &"db".into()));
    let again = client::send(&server, Method::DELETE, path, Some(ADMIN_TOKEN), "{}").await;
    assert_eq!((again.status.as_u16(), &again.json()["error"]["reason"]), (404, &"DECLARATION_NOT_FOUND".into()));
    assert_eq!(declare(8).await, 8);
    let mut admin = client::admin(&server, ADMIN_TOKEN).await;
    let entry = admin.list_audit(pb::ListAuditRequest::default()).await.unwrap().into_inner().entries.remove(0);
    let said = [&*entry.actor, &*entry.action, &*entry.target, &*entry.reason];
    assert_eq!(said, ["admin-token-file", "declaration_deleted", "db", "a jump"]);
}

#[tokio::test]
async fn the_administrators_token_is_changed_in_its_file() {
    let folder = Folder::new();
    let mut server = guarded(&folder);
    let mut old = client::admin(&server, ADMIN_TOKEN).await;
    old.get_server_info(pb::GetServerInfoRequest {}).await.unwrap();
    let new = "f".repeat(32);
    folder.file("admin-token", &new);
    server.hang_up();
    server.wait_for_log("policies reloaded");
    let refused = old.get_server_info(pb::GetServerInfoRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    client::admin(&server, &new).await.get_server_info(pb::GetServerInfoRequest {}).await.unwrap();
}

#[test]
fn an_admin_token_that_can_be_guessed_is_refused() {
    let folder = Folder::new();
    let flag = format!("--admin-token-file={}", folder.file("admin-token", "secret\n"));
    let told = Server::refused(&[&flag]);
    assert!(told.contains("must hold one word of at least 32 bytes; make one with `openssl rand -hex 32`"), "{told}");
}
