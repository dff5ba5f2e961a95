//! The operators' verbs: the built command against the built server.

mod support {
    pub(crate) mod process;
}

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::Value;
use support::process::Server;

fn command(server: &Server, arguments: &[&str]) -> Command {
    command_at(server.address(), arguments)
}

/// The command, with nothing of ours in its environment but the server's address.
fn command_at(server: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuseboard"));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FUSEBOARD_")) {
        command.env_remove(name);
    }
    command.env("FUSEBOARD_ADDRESS", server.to_string()).env("USER", "ana").env_remove("NO_COLOR");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What it printed, and its exit code.
fn ended(command: &mut Command) -> (String, String, i32) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code().unwrap())
}

/// What it printed when all went well.
fn says(server: &Server, arguments: &[&str]) -> String {
    let (stdout, stderr, code) = ended(&mut command(server, arguments));
    assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}: {stdout}");
    stdout
}

fn json(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&says(server, &[arguments, &["--output", "json"]].concat())).unwrap()
}

/// Opens a breaker, by five failures.
fn trip(server: &Server, breaker: &str) {
    for _ in 0..5 {
        let permit = says(server, &["acquire", breaker]);
        says(server, &["report", breaker, permit.trim(), "failure"]);
    }
}

fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("operate-{name}-{}", std::process::id()));
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_breaker_is_called_looked_at_held_and_reset() {
    let server = Server::start(&[]);
    assert_eq!(says(&server, &["list"]), "no breakers\n");
    trip(&server, "payments/charge");
    let (stdout, stderr, code) = ended(&mut command(&server, &["acquire", "payments/charge"]));
    assert_eq!((stdout.as_str(), code), ("", 3), "a shell's variable for the permit is empty");
    assert!(stderr.starts_with("rejected: open; come back after "), "{stderr}");
    let listed = says(&server, &["list", "payments/", "--state", "open"]);
    assert_eq!(
        listed,
        "BREAKER          STATE  SINCE                 FAILURES  NEXT\n\
         payments/charge  open   2020-01-01T00:00:00Z  5         half-open in 30s\n"
    );
    assert_eq!(says(&server, &["list", "--state=closed,half-open"]), "no breakers\n");
    let held = ["override", "set", "payments/charge", "forced-closed", "--reason", "a drill", "--expires-in", "10m"];
    assert!(says(&server, &held).contains("payments/charge  forced closed"));
    let state = says(&server, &["state", "payments/charge"]);
    for line in [
        "state              open",
        "id                 default",
        "set by             ana: a drill",
        "ends               2020-01-01T00:10:00Z",
        "last success       never",
        "last failure       2020-01-01T00:00:00Z",
        "life               opened 1 time, closed 0 times",
    ] {
        assert!(state.contains(line), "no {line:?} in\n{state}");
    }
    assert!(says(&server, &["override", "clear", "payments/charge"]).contains("payments/charge  open"));
    let probe = ["probe", "payments/charge", "--reason", "is it back?"];
    assert!(says(&server, &probe).contains("payments/charge  half-open"));
    let (_, stderr, code) = ended(&mut command(&server, &probe));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("it is half_open, not open"), "{stderr}");
    let probed = says(&server, &["audit", "payments/charge", "--output", "json"]);
    assert!(probed.contains("probe_now"), "{probed}");
    assert!(says(&server, &["reset", "payments/charge", "--reason", "fixed"]).contains("payments/charge  closed"));
    let history = says(&server, &["history", "payments/charge", "--limit", "2"]);
    assert_eq!(history.lines().count(), 3, "{history}");
    assert!(history.contains("reset, by ana: fixed"), "{history}");
    assert!(says(&server, &["history", "--kind", "opened"]).contains("opened, failure_threshold"));
    assert_eq!(says(&server, &["history", "--kind", "closed"]), "no events\n");
    assert!(
        says(&server, &["audit", "payments/charge"]).contains("ana  override set      payments/charge  forced_closed")
    );
    assert_eq!(says(&server, &["delete", "payments/charge"]), "");
    assert_eq!(says(&server, &["list"]), "no breakers\n");
}

#[test]
fn json_is_what_the_api_says_in_the_order_of_the_proto() {
    let server = Server::start(&[]);
    trip(&server, "db");
    let text = says(&server, &["state", "db", "-o", "json"]);
    assert_eq!(text.lines().count(), 1);
    assert!(text.starts_with(r#"{"status":{"breaker":"db","state":"STATE_OPEN","#), "{text}");
    assert_eq!(json(&server, &["list"])["breakers"][0]["failures"], "5");
    assert_eq!(json(&server, &["info"])["store"], "memory");
    assert_eq!(json(&server, &["whoami"]), serde_json::json!({}));
    let (stdout, _, code) = ended(&mut command(&server, &["acquire", "db", "-o", "json"]));
    assert_eq!(code, 3);
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["reason"], "REJECTION_REASON_OPEN");
}

#[test]
fn policies_are_set_as_in_the_file_and_deleted() {
    let server = Server::start(&[]);
    let fields = ["failure_threshold=3", "open_duration=10s", "monitoring_period=off", "window={ calls = 100 }"];
    let set = says(&server, &[&["policy", "set", "payments/*"], fields.as_slice()].concat());
    let row = "payments/*  2        api     ana  failure_threshold 3, monitoring_period off, window 100 calls, open_duration 10s";
    assert!(set.contains(row), "{set}");
    assert!(says(&server, &["policy", "list"]).contains(row));
    assert_eq!(json(&server, &["policy", "get", "payments/*"])["entry"]["policy"]["window"]["count"]["calls"], 100);
    assert_eq!(says(&server, &["policy", "delete", "payments/*"]), "");
    for (field, told) in [
        ("open_duration", "must be FIELD=VALUE, as open_duration=10s"),
        ("open_duratoin=1s", "did you mean open_duration?"),
        ("probes=0", "probes must be 1 to 1000, not 0"),
    ] {
        let (_, stderr, code) = ended(&mut command(&server, &["policy", "set", "a", field]));
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
        assert!(stderr.starts_with(&format!("error: {field:?}")), "the argument is named: {stderr}");
    }
}

#[test]
fn a_file_of_policies_is_compared_applied_and_pruned() {
    let server = Server::start(&[]);
    says(&server, &["policy", "set", "payments/*", "failure_threshold=3", "probes=2"]);
    says(&server, &["policy", "set", "old", "probes=2"]);
    let path = file(
        "policies",
        "[[policy]]\npattern = 'payments/*'\nfailure_threshold = 4\n[[policy]]\npattern = 'db'\nprobes = 5\n",
    );
    let changes = "~ payments/*  failure_threshold 3 → 4, probes 2 → unset\n+ db  probes 5\n";
    let diff = ended(&mut command(&server, &["policy", "diff", &path]));
    assert_eq!(diff, (changes.to_owned(), String::new(), 1));
    let unasked = ended(&mut command(&server, &["policy", "apply", &path]));
    assert_eq!((unasked.0.as_str(), unasked.2), (changes, 2));
    assert!(unasked.1.contains("there is nobody to ask: say --yes"), "{}", unasked.1);
    assert_eq!(says(&server, &["policy", "apply", &path, "--yes", "--reason", "for the sale"]), changes);
    assert_eq!(says(&server, &["policy", "diff", &path]), "nothing to change\n");
    assert!(says(&server, &["audit"]).contains("probes 5: for the sale"));
    let pruned = ended(&mut command(&server, &["policy", "diff", &path, "--prune", "-o", "json"]));
    assert_eq!((pruned.0.as_str(), pruned.2), ("{\"pattern\":\"old\",\"from\":{\"probes\":2},\"to\":null}\n", 1));
    assert_eq!(says(&server, &["policy", "apply", &path, "--prune", "--yes"]), "- old  probes 2\n");
    assert_eq!(json(&server, &["policy", "list"])["policies"].as_array().unwrap().len(), 2);
}

#[test]
fn a_file_that_holds_more_than_policies_or_is_wrong_changes_nothing() {
    let server = Server::start(&[]);
    for (text, told) in [
        ("threads = 2\n", "holds more than policies"),
        ("[default_policy]\nprobes = 3\n", "[default_policy] is the server's own"),
        ("[[policy]]\npattern = 'a'\nprobes = 0\n", "probes must be 1 to 1000, not 0"),
    ] {
        let path = file("wrong", text);
        let (stdout, stderr, code) = ended(&mut command(&server, &["policy", "apply", &path, "--yes"]));
        assert_eq!((stdout.as_str(), code), ("", 2));
        assert!(stderr.contains(told), "{stderr}");
    }
    assert!(says(&server, &["policy", "list"]).starts_with("no policies"));
}

#[test]
fn over_a_policy_of_the_servers_file_one_of_the_api_is_laid() {
    let config = file("server", "[[policy]]\npattern = 'db'\nprobes = 3\n");
    let server = Server::start(&["--config", &config]);
    let path = file("over", "[[policy]]\npattern = 'db'\nprobes = 4\n");
    assert_eq!(says(&server, &["policy", "apply", &path, "--yes"]), "+ db  probes 4\n");
}

#[test]
fn who_watches_sees_it_happen() {
    let server = Server::start(&[]);
    let mut watching = command(&server, &["watch", "payments/"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    // Nothing tells when the watch has begun, so it happens until it is seen.
    let (address, is_seen) = (server.address(), AtomicBool::new(false));
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_seen.load(Ordering::Relaxed) {
                for breaker in ["elsewhere", "payments/charge"] {
                    let held = ["override", "set", breaker, "shadow", "--reason", "a drill"];
                    assert_eq!(ended(&mut command_at(address, &held)).2, 0);
                }
            }
        });
        let told = lines.next().unwrap().unwrap();
        is_seen.store(true, Ordering::Relaxed);
        told
    });
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert_eq!(told, "2020-01-01T00:00:00Z  payments/charge  override set, by ana: a drill");
}

/// The lines that a command in the background prints to standard error.
fn notes(child: &mut std::process::Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok)
}

#[test]
fn a_watch_says_what_it_watches_and_goes_on_when_the_server_is_back() {
    let server = Server::start(&[]);
    for breaker in ["payments/charge", "payments/refund", "mail"] {
        says(&server, &["acquire", breaker]);
    }
    let address = server.address();
    let mut watching =
        command(&server, &["watch", "payments/"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut notes = notes(&mut watching);
    assert_eq!(notes.next().unwrap(), format!("watching 2 breakers at {address}; ctrl-c ends"));
    drop(server);
    let interrupted = notes.next().unwrap();
    assert!(
        interrupted.starts_with("watch interrupted: ") && interrupted.ends_with("; reconnecting until ctrl-c"),
        "{interrupted}"
    );
    let server = Server::start_at(address, &[]);
    assert_eq!(notes.next().unwrap(), format!("watching again at {address}"));
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines().map_while(Result::ok);
    says(&server, &["override", "set", "payments/charge", "shadow", "--reason", "a drill"]);
    assert!(lines.any(|line| line.ends_with("override set, by ana: a drill")), "the watch goes on");
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn a_watch_ends_for_a_refusal_that_no_retry_helps() {
    let path = file("admin-token-of-watch", "0123456789abcdef0123456789abcdef");
    let server = Server::start(&["--admin-token-file", &path]);
    let (stdout, stderr, code) = ended(&mut command(&server, &["watch"]));
    assert_eq!((stdout.as_str(), code), ("", 6), "{stderr}");
}

#[test]
fn several_overrides_are_told_apart_and_cleared_only_by_name_or_all_together() {
    let server = Server::start(&[]);
    let hold = |mode, id| says(&server, &["override", "set", "ov/x", mode, "--id", id, "--reason", "a drill"]);
    hold("shadow", "drill");
    hold("forced-open", "incident-7");
    let state = says(&server, &["state", "ov/x"]);
    for line in ["override           forced open", "id                 incident-7"] {
        assert!(state.contains(line), "no {line:?} in\n{state}");
    }
    assert!(state.contains("also               drill (shadow), ana: a drill"), "{state}");
    let (stdout, stderr, code) = ended(&mut command(&server, &["override", "clear", "ov/x"]));
    assert_eq!((stdout.as_str(), code), ("", 2));
    assert_eq!(
        stderr,
        "error: ov/x has 2 overrides, and none was chosen: incident-7 (forced open), ana: a drill, drill (shadow), ana: a drill; \
         name one with --id ID, or clear all with --all\n"
    );
    let (_, stderr, code) = ended(&mut command(&server, &["override", "clear", "ov/x", "--id", "nope"]));
    assert_eq!(code, 5);
    assert!(stderr.contains("there is no override with the id \"nope\""), "{stderr}");
    let cleared = says(&server, &["override", "clear", "ov/x", "--id", "drill"]);
    assert!(cleared.starts_with("cleared 1 override: drill (shadow), ana: a drill\n"), "{cleared}");
    assert!(cleared.contains("ov/x     forced open"), "{cleared}");
    hold("shadow", "drill");
    let cleared = says(&server, &["override", "clear", "ov/x", "--all"]);
    assert!(
        cleared
            .starts_with("cleared 2 overrides: incident-7 (forced open), ana: a drill, drill (shadow), ana: a drill\n"),
        "{cleared}"
    );
    hold("shadow", "drill");
    // A single one needs no name.
    assert!(says(&server, &["override", "clear", "ov/x"]).starts_with("cleared 1 override: drill (shadow)"));
    let (_, stderr, code) = ended(&mut command(&server, &["override", "clear", "ov/x"]));
    assert_eq!((code, stderr.contains("there is no override of \"ov/x\"")), (5, true), "{stderr}");
}

#[test]
fn an_override_needs_a_reason_before_the_server_is_asked() {
    let (_, stderr, code) = ended(&mut command_at("127.0.0.1:1".parse().unwrap(), &["override", "set", "a", "shadow"]));
    assert_eq!((code, stderr.contains("--reason <REASON>")), (2, true), "{stderr}");
    let (help, _, _) = ended(&mut command_at("127.0.0.1:1".parse().unwrap(), &["override", "set", "--help"]));
    assert!(!help.contains("[default: \"\"]"), "{help}");
}

#[test]
fn a_list_shows_and_filters_by_the_effective_state() {
    let server = Server::start(&[]);
    trip(&server, "computed");
    says(&server, &["acquire", "held"]);
    says(&server, &["override", "set", "held", "forced-open", "--reason", "a drill", "--expires-in", "10m"]);
    let refused = says(&server, &["list", "--state", "open,half-open"]);
    assert_eq!(
        refused,
        "BREAKER   STATE        SINCE                 FAILURES  NEXT\n\
         computed  open         2020-01-01T00:00:00Z  5         half-open in 30s\n\
         held      forced open  2020-01-01T00:00:00Z  0         override ends 2020-01-01T00:10:00Z\n"
    );
    assert_eq!(says(&server, &["list", "--state", "closed"]), "no breakers\n");
    says(&server, &["override", "set", "computed", "forced-closed", "--reason", "a drill"]);
    let passing = says(&server, &["list", "--state", "closed"]);
    assert!(passing.contains("computed  forced closed"), "{passing}");
    assert!(passing.contains("override stays until cleared"), "{passing}");
}

#[test]
fn isolated_callers_are_named_in_the_list_and_history_shows_the_breakers_state() {
    let server = Server::start(&[]);
    for caller in ["web/1", "web/2", "web/3"] {
        says(&server, &["acquire", "db", "--caller", caller]);
    }
    for _ in 0..5 {
        let permit = says(&server, &["acquire", "db", "--caller", "web/1"]);
        says(&server, &["report", "db", permit.trim(), "failure"]);
    }
    let listed = says(&server, &["list"]);
    assert!(listed.contains("db       closed, 1 isolated"), "{listed}");
    let history = says(&server, &["history", "db"]);
    let isolated = history.lines().find(|line| line.contains("caller isolated")).unwrap();
    assert!(isolated.contains("db       closed  caller isolated"), "{history}");
}

#[test]
fn a_half_open_row_says_what_its_time_left_is_of() {
    let server = Server::start(&[]);
    says(&server, &["policy", "set", "db", "half_open_max_duration=20s"]);
    trip(&server, "db");
    says(&server, &["probe", "db"]);
    // Its time runs from the first probe on.
    says(&server, &["acquire", "db"]);
    let listed = says(&server, &["list"]);
    assert!(listed.contains("half-open") && listed.contains("reopens in 20s without a verdict"), "{listed}");
}

#[test]
fn tls_on_one_side_alone_is_named_with_the_remedy() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let certificate = file("tls-cert", &certificate.self_signed(&key).unwrap().pem());
    let key = file("tls-key", &key.serialize_pem());
    let with_tls = Server::start(&["--tls-cert", &certificate, "--tls-key", &key]);
    let (_, stderr, code) = ended(&mut command(&with_tls, &["list"]));
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("give --address as https://HOST:PORT"), "{stderr}");
    let plain = Server::start(&[]);
    let (_, stderr, code) = ended(&mut command(&plain, &["list", "--ca", &certificate]));
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("the port does not speak TLS"), "{stderr}");
}

#[test]
fn a_watch_whose_reader_has_left_ends_although_nothing_happens() {
    let server = Server::start(&[]);
    let mut watching = command(&server, &["watch"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(watching.stdout.take());
    // Hangs where the watch waits for an event to write.
    assert_eq!(watching.wait().unwrap().code(), Some(0));
}

#[test]
fn what_goes_wrong_is_told_in_a_sentence_with_a_code_of_its_own() {
    let server = Server::start(&[]);
    let (_, stderr, code) = ended(&mut command(&server, &["state", "nothing"]));
    assert_eq!((code, stderr.contains("(BREAKER_NOT_FOUND)")), (5, true), "{stderr}");
    let (_, stderr, code) = ended(&mut command(&server, &["state", "not a key"]));
    assert_eq!((code, stderr.contains("breaker must be of")), (1, true), "{stderr}");
    let (_, stderr, code) = ended(command(&server, &["list"]).env("FUSEBOARD_ADDRESS", "127.0.0.1:1"));
    assert_eq!((code, stderr.contains("is it running, and at this --address?")), (4, true), "{stderr}");
    let (_, stderr, code) = ended(&mut command(&server, &["list", "--state", "ajar"]));
    assert_eq!((code, stderr.contains("'ajar'")), (2, true), "{stderr}");
    let (_, stderr, code) = ended(&mut command(&server, &["list", "--token-file", "/nowhere"]));
    assert_eq!((code, stderr.contains("/nowhere: ")), (2, true), "{stderr}");
}

#[test]
fn tokens_are_made_used_listed_and_revoked() {
    let admin = "0123456789abcdef0123456789abcdef";
    let path: &'static str = file("admin-token", admin).leak();
    let server = Server::start(&["--admin-token-file", path]);
    let as_admin = |arguments: &[&'static str]| [arguments, &["--token-file", path]].concat();
    let create = ["token", "create", "shop", "--role", "report,read", "--prefix", "payments/", "--caller", "shop"];
    let (secret, note, code) = ended(&mut command(&server, &as_admin(&create)));
    assert_eq!(code, 0);
    assert!(secret.starts_with("fuseboard_") && secret.lines().count() == 1, "nothing but the secret: {secret}");
    assert!(note.contains("This is shown once"), "{note}");
    let with_secret = |arguments: &[&str]| ended(command(&server, arguments).env("FUSEBOARD_TOKEN", secret.trim()));
    assert_eq!(
        with_secret(&["whoami"]).0,
        "name      shop\nroles     report read\nprefixes  payments/\ncaller    shop\n"
    );
    assert_eq!(with_secret(&["acquire", "payments/a"]).2, 0);
    let (_, stderr, code) = with_secret(&["acquire", "bank"]);
    assert_eq!((code, stderr.contains("it is bounded to keys that begin with payments/")), (6, true), "{stderr}");
    assert!(
        says(&server, &as_admin(&["token", "list"]))
            .contains("shop   report read  payments/  shop    never    admin-token-file")
    );
    assert_eq!(says(&server, &as_admin(&["token", "revoke", "shop", "--reason", "leaked"])), "");
    assert_eq!(with_secret(&["whoami"]).2, 6);
    assert!(says(&server, &as_admin(&["audit"])).contains("token revoked  shop  leaked"));
}

#[test]
fn colours_are_for_terminals_and_for_who_asks() {
    let server = Server::start(&[]);
    trip(&server, "db");
    assert!(!says(&server, &["list"]).contains('\u{1b}'), "a pipe is no terminal");
    assert!(says(&server, &["list", "--color", "always"]).contains("\u{1b}[1m\u{1b}[31mopen"));
    assert!(!says(&server, &["list", "--color", "never"]).contains('\u{1b}'));
}

#[test]
fn what_strangers_wrote_does_nothing_to_a_terminal() {
    let (stdout, stderr, code) = {
        let server = Server::start(&[]);
        ended(&mut command(&server, &["state", "\u{1b}[2J"]))
    };
    assert_eq!((stdout.as_str(), code), ("", 1));
    assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
}

#[test]
fn completions_are_printed_for_each_shell() {
    let server = Server::start(&[]);
    for (shell, part) in
        [("bash", "complete -F _fuseboard"), ("zsh", "#compdef fuseboard"), ("fish", "complete -c fuseboard")]
    {
        assert!(says(&server, &["completions", shell]).contains(part), "{shell}");
    }
}
