//! The dashboard: static files that are built in. It is a client of the JSON API as any other, and knows nothing else.

use std::future::ready;

use axum::{Router, http::HeaderMap, routing::get};

use super::document::Document;

/// A file: its route, its type and its text.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

pub(super) const FILES: [File; 10] = [
    ("/", HTML, include_str!("dashboard/index.html")),
    ("/assets/style.css", CSS, include_str!("dashboard/style.css")),
    ("/assets/icon.svg", SVG, include_str!("dashboard/icon.svg")),
    ("/assets/main.js", SCRIPT, include_str!("dashboard/main.js")),
    ("/assets/api.js", SCRIPT, include_str!("dashboard/api.js")),
    ("/assets/dom.js", SCRIPT, include_str!("dashboard/dom.js")),
    ("/assets/board.js", SCRIPT, include_str!("dashboard/board.js")),
    ("/assets/breaker.js", SCRIPT, include_str!("dashboard/breaker.js")),
    ("/assets/session.js", SCRIPT, include_str!("dashboard/session.js")),
    ("/assets/actions.js", SCRIPT, include_str!("dashboard/actions.js")),
];

/// The routes of [`FILES`].
pub(super) fn routes<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    FILES.into_iter().fold(router, |router, (path, kind, text)| {
        let document = Document::new(kind, text);
        router.route(path, get(move |headers: HeaderMap| ready(document.answer(&headers))))
    })
}
