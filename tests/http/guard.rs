//! Who is refused: pages of other sites, and names that were made to lead here.

use http::Method;

use crate::server::Server;

const RESET: &str = "/api/v1/breakers/mail/reset";
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn what_changes_something_has_to_be_json() {
    let server = Server::start();
    server.fail("mail").await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
        let answer = server.call(Method::POST, RESET, &[("content-type", kind)], "{}").await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (415, "CONTENT_TYPE"), "{kind}");
    }
    let answer = server.call(Method::POST, RESET, &[("content-type", "Application/JSON; charset=utf-8")], "{}").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let server = Server::start();
    server.fail("mail").await;
    let own = format!("http://{}", server.address);
    for (name, value, status) in [
        ("origin", "https://example.org", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "same-origin", 200),
        ("origin", own.as_str(), 200),
    ] {
        let answer = server.call(Method::POST, RESET, &[JSON, (name, value)], "{}").await;
        assert_eq!(answer.status, status, "{name}: {value}");
        // Nor does it read: no answer gives leave to.
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn a_name_that_is_not_loopbacks_leads_nowhere() {
    let server = Server::start();
    for path in ["/", "/metrics", "/api/v1/breakers", "/api/v1/events/stream"] {
        let answer = server.call(Method::GET, path, &[("host", "rebound.example.org:8080")], "").await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (421, "HOST_NOT_ALLOWED"), "{path}");
    }
    for host in ["localhost:8080", "127.0.0.1", "[::1]:8080"] {
        assert_eq!(server.call(Method::GET, "/livez", &[("host", host)], "").await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_header_that_decides_something_is_refused_when_it_comes_twice() {
    let server = Server::start();
    server.fail("mail").await;
    let own = server.address.to_string();
    for (name, one, other) in [
        ("host", own.as_str(), "rebound.example.org"),
        ("host", own.as_str(), own.as_str()),
        ("authorization", "Bearer one", "Bearer other"),
        ("origin", "null", "https://example.org"),
        ("content-type", "application/json", "text/plain"),
        ("sec-fetch-site", "same-origin", "cross-site"),
    ] {
        let answer = server.call(Method::POST, RESET, &[(name, one), (name, other)], "{}").await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (400, "HEADER_REPEATED"), "{name}");
        assert!(answer.text().contains(name), "{}", answer.text());
    }
    // The target of a request can name a host too.
    let target = format!("http://{own}{RESET}");
    let answer = server.call(Method::POST, &target, &[JSON, ("host", "localhost")], "{}").await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (400, "HOST_AMBIGUOUS"));
    assert_eq!(server.call(Method::POST, &target, &[JSON], "{}").await.status, 200);
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let server = Server::start();
    for path in ["/", "/assets/main.js", "/api/v1/breakers", "/livez", "/nowhere"] {
        let headers = server.get(path).await.headers;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"));
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(headers.contains_key("cache-control"), "{path}");
    }
}
