//! The document names every route, and every route is there.

use http::{Method, StatusCode};
use serde_json::Value;

use crate::server::Server;

/// All routes beside the dashboard's files. One that is added has to be added here, and is then asked for below.
const ROUTES: [(&str, &[&str]); 26] = [
    ("/livez", &["get"]),
    ("/readyz", &["get"]),
    ("/health/circuit-breakers", &["get"]),
    ("/metrics", &["get"]),
    ("/api/v1/openapi.json", &["get"]),
    ("/api/v1/breakers", &["get"]),
    ("/api/v1/breakers/{breaker}", &["delete", "get"]),
    ("/api/v1/breakers/{breaker}/acquire", &["post"]),
    ("/api/v1/breakers/{breaker}/report", &["post"]),
    ("/api/v1/breakers/{breaker}/reset", &["post"]),
    ("/api/v1/breakers/{breaker}/probe", &["post"]),
    ("/api/v1/breakers/{breaker}/override", &["delete", "put"]),
    ("/api/v1/breakers/{breaker}/declaration", &["delete"]),
    ("/api/v1/declare", &["post"]),
    ("/api/v1/report-batch", &["post"]),
    ("/api/v1/policies", &["get"]),
    ("/api/v1/policies/{pattern}", &["delete", "get", "put"]),
    ("/api/v1/server", &["get"]),
    ("/api/v1/identity", &["get"]),
    ("/api/v1/tokens", &["get", "post"]),
    ("/api/v1/tokens/{name}", &["delete"]),
    ("/api/v1/audit", &["get"]),
    ("/api/v1/webhooks", &["get"]),
    ("/api/v1/webhooks/{name}/test", &["post"]),
    ("/api/v1/login", &["post"]),
    ("/api/v1/logout", &["post"]),
];
const EVENTS: [&str; 2] = ["/api/v1/events", "/api/v1/events/stream"];

#[tokio::test]
async fn the_document_and_the_routes_are_the_same() {
    let server = Server::start();
    let document = server.get("/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let mut told: Vec<(&str, Vec<&str>)> = paths
        .iter()
        .map(|(path, methods)| (path.as_str(), methods.as_object().unwrap().keys().map(String::as_str).collect()))
        .collect();
    told.iter_mut().for_each(|(_, methods)| methods.sort_unstable());
    let mut expected: Vec<(&str, Vec<&str>)> = ROUTES.iter().map(|(path, methods)| (*path, methods.to_vec())).collect();
    expected.extend(EVENTS.map(|path| (path, vec!["get"])));
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
    for (path, methods) in expected {
        let path = path.replace("{breaker}", "mail").replace("{pattern}", "mail").replace("{name}", "mail");
        for method in ["get", "put", "post", "delete"] {
            // A stream has no end.
            let query = if path == EVENTS[1] { "?resumeToken=forged" } else { "" };
            let asked = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = server.send(asked, &format!("{path}{query}"), "{}").await;
            assert_eq!(
                answer.status != 405,
                methods.contains(&method),
                "{method} {path} is answered {}",
                answer.status
            );
            assert!(answer.status != 404 || answer.reason() != "ROUTE_NOT_FOUND", "{path}");
        }
    }
}

#[tokio::test]
async fn every_rpc_has_a_route() {
    let server = Server::start();
    let document = server.get("/api/v1/openapi.json").await.json();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|methods| methods.as_object().unwrap().values());
    let told: Vec<&str> = operations.filter_map(|operation| operation["operationId"].as_str()).collect();
    let pool = prost_reflect::DescriptorPool::decode(fuseboard::pb::FILE_DESCRIPTOR_SET).unwrap();
    for service in ["fuseboard.v1.BreakerService", "fuseboard.v1.AdminService"] {
        for method in pool.get_service_by_name(service).unwrap().methods() {
            // A session is for programs that speak gRPC.
            assert_eq!(told.contains(&method.name()), method.name() != "Session", "{}", method.full_name());
        }
    }
}

/// Every `$ref` in a value.
fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_type_that_is_named_is_there_and_described() {
    let server = Server::start();
    let document = server.get("/api/v1/openapi.json").await.json();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        let schema = document.pointer(pointer).unwrap_or_else(|| panic!("no {reference}"));
        assert!(
            schema["description"].as_str().is_some_and(|text| !text.is_empty()) || reference.ends_with("/Error"),
            "{reference}"
        );
    }
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{method} {path}");
            for name in path.split(['{', '}']).skip(1).step_by(2) {
                let parameters = operation["parameters"].as_array().unwrap();
                assert!(
                    parameters.iter().any(|parameter| parameter["name"] == name && parameter["in"] == "path"),
                    "{path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn documents_that_do_not_change_are_not_sent_to_who_has_them() {
    let server = Server::start();
    for path in ["/api/v1/openapi.json", "/", "/assets/main.js"] {
        let first = server.get(path).await;
        let tag = first.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!((first.status, first.headers["cache-control"].to_str().unwrap()), (StatusCode::OK, "no-cache"));
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = server.call(Method::GET, path, &[("if-none-match", &known)], "").await;
            assert_eq!((again.status, again.text()), (StatusCode::NOT_MODIFIED, ""), "{path} {known}");
            assert_eq!(again.headers["etag"].to_str().unwrap(), tag);
        }
        let other = server.call(Method::GET, path, &[("if-none-match", "\"other\"")], "").await;
        assert_eq!((other.status, other.text()), (StatusCode::OK, first.text()));
    }
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused_as_everything_else_is() {
    let answer = Server::start().get("/api/v1/breakers/%ff").await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::BAD_REQUEST, "INVALID_FIELD".to_owned()));
}
