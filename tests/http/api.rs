//! The verbs in JSON.

use http::Method;
use serde_json::json;

use crate::server::Server;

const BREAKER: &str = "/api/v1/breakers/payments%2Fcharge";

#[tokio::test]
async fn a_call_is_acquired_and_reported() {
    let server = Server::start();
    let acquired = server.send(Method::POST, &format!("{BREAKER}/acquire"), r#"{"caller":"web/1"}"#).await;
    assert_eq!(acquired.status, 200);
    let acquired = acquired.json();
    assert_eq!((&acquired["decision"], &acquired["lease"]), (&json!("DECISION_PERMITTED"), &json!("60s")));
    let report = json!({ "permit": acquired["permit"], "outcome": "OUTCOME_TIMEOUT", "error_class": "slow" });
    let reported = server.send(Method::POST, &format!("{BREAKER}/report"), &report.to_string()).await.json();
    assert_eq!(reported["result"], "REPORT_RESULT_COUNTED");
    let view = server.get(BREAKER).await.json();
    assert_eq!(view["status"]["breaker"], "payments/charge");
    assert_eq!(view["window"], json!({ "failures": "1", "timeouts": "1" }), "64-bit numbers are strings");
    assert_eq!(view["callers"][0]["status"]["caller"], "web/1");
}

#[tokio::test]
async fn an_operator_holds_resets_and_deletes() {
    let server = Server::start();
    server.trip("payments%2Fcharge").await;
    let said = r#"{"actor":"ana","reason":"drill","mode":"OVERRIDE_MODE_FORCED_CLOSED","expireAfter":"600s"}"#;
    let held = server.send(Method::PUT, &format!("{BREAKER}/override"), said).await.json();
    assert_eq!(held["status"]["overrideMode"], "OVERRIDE_MODE_FORCED_CLOSED");
    let cleared = server.send(Method::DELETE, &format!("{BREAKER}/override"), r#"{"actor":"ana"}"#).await.json();
    assert_eq!((&cleared["status"]["state"], cleared["status"].get("overrideMode")), (&json!("STATE_OPEN"), None));
    let reset = server.send(Method::POST, &format!("{BREAKER}/reset"), r#"{"actor":"ana"}"#).await.json();
    assert_eq!(reset["status"]["state"], "STATE_CLOSED");
    let events =
        server.get("/api/v1/events?newestFirst=true&kinds=EVENT_KIND_RESET&kinds=EVENT_KIND_OPENED").await.json();
    let kinds: Vec<_> = events["events"].as_array().unwrap().iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["EVENT_KIND_RESET", "EVENT_KIND_OPENED"]);
    assert_eq!(server.send(Method::DELETE, BREAKER, "").await.status, 200);
    let gone = server.get(BREAKER).await;
    assert_eq!((gone.status.as_u16(), gone.reason().as_str()), (404, "BREAKER_NOT_FOUND"));
}

#[tokio::test]
async fn policies_are_set_read_and_deleted_by_pattern() {
    let server = Server::start();
    let path = "/api/v1/policies/payments%2F%2A";
    let set = server.send(Method::PUT, path, r#"{"policy":{"failureThreshold":2},"actor":"ana"}"#).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let entry = server.get(path).await.json()["entry"].clone();
    assert_eq!((&entry["pattern"], &entry["policy"]), (&json!("payments/*"), &json!({ "failureThreshold": 2 })));
    let stale = server.send(Method::DELETE, path, r#"{"expectedVersion":"99"}"#).await;
    assert_eq!((stale.status.as_u16(), stale.reason().as_str()), (409, "VERSION_MOVED"));
    assert_eq!(server.get("/api/v1/policies?pageSize=1").await.json()["policies"].as_array().unwrap().len(), 1);
    assert_eq!(server.send(Method::DELETE, path, "").await.status, 200);
    assert_eq!(server.get(path).await.reason(), "POLICY_NOT_FOUND");
}

#[tokio::test]
async fn a_service_declares_and_sends_batches() {
    let server = Server::start();
    let declare = r#"{"declarations":[{"breaker":"mail","policy":{"failureThreshold":2}}]}"#;
    let declared = server.send(Method::POST, "/api/v1/declare", declare).await.json();
    assert_eq!(declared["declared"][0]["policy"]["policy"]["failureThreshold"], 2);
    let batch =
        r#"{"clientId":"sdk","batchSequence":"1","tallies":[{"breaker":"mail","generation":"1","successes":3}]}"#;
    assert_eq!(server.send(Method::POST, "/api/v1/report-batch", batch).await.json()["counted"], 1);
    assert_eq!(server.send(Method::POST, "/api/v1/report-batch", batch).await.json()["duplicate"], true);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let server = Server::start();
    for key in ["a%2F1", "a%2F2", "b"] {
        server.fail(key).await;
    }
    let page = server.get("/api/v1/breakers?prefix=a%2F&pageSize=1&states=STATE_CLOSED").await.json();
    assert_eq!(page["breakers"][0]["breaker"], "a/1");
    let token = page["nextPageToken"].as_str().unwrap();
    let next =
        server.get(&format!("/api/v1/breakers?prefix=a/&page_size=1&states=STATE_CLOSED&page_token={token}")).await;
    assert_eq!(next.json()["breakers"][0]["breaker"], "a/2");
    let info = server.get("/api/v1/server").await.json();
    assert_eq!((&info["store"], &info["storeHealthy"]), (&json!("memory"), &json!(true)));
}

#[tokio::test]
async fn every_mistake_has_its_status_reason_and_field() {
    let server = Server::start();
    let (post, put) = (Method::POST, Method::PUT);
    let cases = [
        (Method::GET, "/api/v1/breakers/never", "", 404, "BREAKER_NOT_FOUND", ""),
        (Method::GET, "/api/v1/breakers/not%20a%20key", "", 400, "INVALID_FIELD", "breaker"),
        (Method::GET, "/api/v1/breakers?states=STATE_AJAR", "", 400, "MALFORMED_MESSAGE", ""),
        (Method::GET, "/api/v1/breakers?pageSize=-1", "", 400, "MALFORMED_MESSAGE", ""),
        (Method::GET, "/api/v1/breakers?pageSize=1&pageSize=2", "", 400, "INVALID_FIELD", "pageSize"),
        (Method::GET, "/api/v1/breakers?colour=red", "", 400, "INVALID_FIELD", "colour"),
        (Method::GET, "/api/v1/breakers?prefix.deep=1", "", 400, "INVALID_FIELD", "prefix.deep"),
        (Method::GET, "/api/v1/nothing", "", 404, "ROUTE_NOT_FOUND", ""),
        (Method::GET, "/api/v1/breakers/payments/charge", "", 404, "ROUTE_NOT_FOUND", ""),
        (Method::PATCH, "/api/v1/breakers/mail", "{}", 405, "METHOD_NOT_ALLOWED", ""),
        (post.clone(), "/api/v1/breakers/mail/acquire", "{", 400, "MALFORMED_MESSAGE", ""),
        (post.clone(), "/api/v1/breakers/mail/acquire", "[]", 400, "MALFORMED_MESSAGE", ""),
        (post.clone(), "/api/v1/breakers/mail/acquire", r#"{"colour":1}"#, 400, "MALFORMED_MESSAGE", ""),
        (post.clone(), "/api/v1/breakers/mail/acquire", r#"{"breaker":"other"}"#, 400, "INVALID_FIELD", "breaker"),
        (post.clone(), "/api/v1/breakers/mail/report", r#"{"permit":"x"}"#, 400, "INVALID_FIELD", "permit"),
        (post, "/api/v1/breakers/never/reset", "", 404, "BREAKER_NOT_FOUND", ""),
        (put.clone(), "/api/v1/breakers/mail/override", r#"{"actor":"ana"}"#, 400, "INVALID_FIELD", "mode"),
        (put, "/api/v1/policies/a", "{}", 400, "INVALID_FIELD", "policy"),
    ];
    for (method, path, body, status, reason, field) in cases {
        let answer = server.send(method.clone(), path, body).await;
        let error = answer.json()["error"].clone();
        let told =
            (answer.status.as_u16(), error["reason"].as_str().unwrap(), error["field"].as_str().unwrap_or_default());
        assert_eq!(told, (status, reason, field), "{method} {path} {body}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
}

#[tokio::test]
async fn a_limit_says_when_to_come_back() {
    let server = Server::start();
    let limits = server.engine.limits();
    let many = (0..limits.policies).map(|number| format!("p{number}"));
    for pattern in many {
        let policy =
            fuseboard::breaker::PolicySpec { lease: Some(std::time::Duration::from_secs(1)), ..Default::default() };
        server.engine.set_policy(&pattern, policy, None, Default::default()).await.unwrap();
    }
    let over = server.send(Method::PUT, "/api/v1/policies/over", r#"{"policy":{"probes":2},"actor":"ana"}"#).await;
    assert_eq!((over.status.as_u16(), over.reason().as_str()), (429, "POLICY_LIMIT"));
}

#[tokio::test]
async fn hostile_words_stay_words() {
    let server = Server::start();
    let words = r#"<script>alert(1)</script>"#;
    let said = json!({ "actor": words, "reason": format!("\"'{words}"), "mode": "OVERRIDE_MODE_SHADOW" });
    assert_eq!(server.send(Method::PUT, "/api/v1/breakers/mail/override", &said.to_string()).await.status, 200);
    let view = server.get("/api/v1/breakers/mail").await;
    assert_eq!(view.json()["override"]["actor"], words);
    assert_eq!(
        (&view.headers["content-type"], &view.headers["x-content-type-options"]),
        (&"application/json".parse().unwrap(), &"nosniff".parse().unwrap())
    );
    let lines = json!({ "actor": "ana\nid: forged", "reason": "x", "mode": "OVERRIDE_MODE_SHADOW" });
    assert_eq!(
        server.send(Method::PUT, "/api/v1/breakers/mail/override", &lines.to_string()).await.reason(),
        "INVALID_FIELD"
    );
}
