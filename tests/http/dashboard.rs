//! The dashboard's files: all there, nothing from elsewhere, nothing that a hostile name could become.

use crate::server::Server;

#[tokio::test]
async fn every_file_that_is_named_is_served() {
    let server = Server::start();
    let mut waiting = vec!["/".to_owned()];
    let mut seen: Vec<String> = Vec::new();
    while let Some(path) = waiting.pop() {
        if seen.contains(&path) {
            continue;
        }
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        let text = answer.text().to_owned();
        let named = text.split(['"', '\'']).filter_map(|word| match word.strip_prefix("./") {
            Some(file) => file.ends_with(".js").then(|| format!("/assets/{file}")),
            None => word.starts_with("/assets/").then(|| word.to_owned()),
        });
        waiting.extend(named);
        seen.push(path);
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
}

#[tokio::test]
async fn nothing_is_inline_foreign_or_made_from_text() {
    let server = Server::start();
    for file in [
        "",
        "assets/main.js",
        "assets/api.js",
        "assets/dom.js",
        "assets/board.js",
        "assets/breaker.js",
        "assets/actions.js",
        "assets/style.css",
    ] {
        let answer = server.get(&format!("/{file}")).await;
        let text = answer.text().replace("http://www.w3.org/2000/svg", "");
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            " style=\"",
            " onclick=",
            "javascript:",
            "https://",
            "http://",
            "@import",
        ] {
            assert!(!text.contains(forbidden), "{file} has {forbidden}");
        }
    }
    let page = server.get("/").await;
    assert!(!page.text().contains("<script>") && !page.text().contains("<style"), "all of it is in files");
}
